// The ONNX file under ONNX Runtime: run, compared with the trained model, measured.
package slideexport.bench

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import kotlin.math.sqrt

private const val WINDOW = 4
private const val WARMUP_CALLS = 100
private const val DRIFT = 1.05

class Runner(private val bundle: ExportedBundle, val threads: Int) : AutoCloseable {
    private val environment = OrtEnvironment.getEnvironment().apply { setTelemetry(false) }
    private val session: OrtSession
    val loadMs: Double
    var firstMs = 0.0
        private set
    var warmUpCalls = 0
        private set
    var stable = false
        private set

    init {
        val start = System.nanoTime()
        session = environment.createSession(bundle.model, options())
        loadMs = millisecondsSince(start)
    }

    val version: String get() = environment.version

    /** The settings that the bundle was proved with, and the threads asked for. */
    private fun options(): OrtSession.SessionOptions {
        val options = OrtSession.SessionOptions()
        options.setIntraOpNumThreads(threads)
        val level = when (val name = bundle.settings.getString("optimization")) {
            "all" -> OrtSession.SessionOptions.OptLevel.ALL_OPT
            "extended" -> OrtSession.SessionOptions.OptLevel.EXTENDED_OPT
            "basic" -> OrtSession.SessionOptions.OptLevel.BASIC_OPT
            else -> throw BadInput("expected an optimization of all, extended or basic in the manifest, found $name")
        }
        options.setOptimizationLevel(level)
        val config = bundle.settings.getJSONObject("config")
        for (name in config.keys()) options.addConfigEntry(name, config.getString(name))
        return options
    }

    private fun tensor(images: Tensor): OnnxTensor {
        val shape = LongArray(images.shape.size) { images.shape[it].toLong() }
        if (bundle.takesBytes) {
            val bytes = ByteBuffer.allocateDirect(images.values.size)
            for (value in images.values) bytes.put(value.toInt().toByte())
            bytes.rewind()
            return OnnxTensor.createTensor(environment, bytes, shape, OnnxJavaType.UINT8)
        }
        val floats = ByteBuffer.allocateDirect(4 * images.values.size).order(ByteOrder.nativeOrder()).asFloatBuffer()
        for (value in images.values) floats.put(value.toFloat())
        floats.rewind()
        return OnnxTensor.createTensor(environment, floats, shape)
    }

    /** Returns every output of one batch, by name, in order of rows. */
    fun run(images: Tensor): Map<String, DoubleArray> =
        tensor(images).use { fed ->
            session.run(mapOf(bundle.inputName to fed)).use { found ->
                bundle.outputNames.associateWith { name ->
                    val values = (found.get(name).get() as OnnxTensor).floatBuffer
                    DoubleArray(values.remaining()) { values.get(it).toDouble() }
                }
            }
        }

    /** Returns a sentence for each output, and whether all are within the manifest's limits. */
    fun prove(): Pair<Boolean, List<String>> {
        val images = bundle.images
        val count = images.shape[0]
        val size = bundle.fixedBatch ?: 1
        val batches = (0 until count step size).map { start -> run(images.rows(List(size) { (start + it) % count })) }
        val limits = bundle.manifest.getJSONObject("parity").getJSONArray("outputs")
        val verdicts = List(limits.length()) { place ->
            val limit = limits.getJSONObject(place)
            val name = limit.getString("name")
            val expected = bundle.golden["reference.$name"] ?: throw BadInput("expected reference.$name, found none")
            val found = batches.flatMap { it.getValue(name).asIterable() }
            // A last batch that starts again from the first image has more rows than are compared.
            val errors = expected.values.mapIndexed { at, value -> abs(found[at] - value) }
            val largest = if (errors.any { it.isNaN() }) Double.NaN else errors.max()
            val rms = sqrt(errors.sumOf { it * it } / errors.size)
            val equal = largest <= limit.getDouble("limit_max") && rms <= limit.getDouble("limit_rms")
            val verdict = if (equal) "proved equal" else "NOT equal"
            val numbers = "largest error $largest of ${limit["limit_max"]}, rms $rms of ${limit["limit_rms"]}"
            equal to "$verdict: $name $numbers"
        }
        return verdicts.all { it.first } to verdicts.map { it.second }
    }

    /** Returns the milliseconds of each call, by rounds, after a warm-up that lasts until the time is stable. */
    fun measure(rounds: Int, calls: Int): List<List<Double>> {
        val size = bundle.fixedBatch ?: 1
        val count = bundle.images.shape[0]
        return tensor(bundle.images.rows(List(size) { it % count })).use { fed ->
            firstMs = time(fed)
            warmUp(fed)
            List(rounds) {
                time(fed)
                List(calls) { time(fed) }
            }
        }
    }

    /** Calls until the medians of three successive windows of four calls lie within 5 percent, 100 calls at most. */
    private fun warmUp(fed: OnnxTensor) {
        val medians = mutableListOf<Double>()
        while (!stable && warmUpCalls < WARMUP_CALLS) {
            val window = List(WINDOW) { time(fed) }.sorted()
            medians += (window[1] + window[2]) / 2
            warmUpCalls += WINDOW
            val last = medians.takeLast(3)
            stable = last.size == 3 && last.max() <= DRIFT * last.min()
        }
    }

    private fun time(fed: OnnxTensor): Double {
        val start = System.nanoTime()
        session.run(mapOf(bundle.inputName to fed)).close()
        return millisecondsSince(start)
    }

    override fun close() = session.close()
}

private fun millisecondsSince(start: Long): Double = (System.nanoTime() - start) / 1e6
