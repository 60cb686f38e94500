// A bundle of slide-export among an app's assets: manifest.json, golden.safetensors and the ONNX file.
package slideexport.bench

import android.content.res.AssetManager
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import org.json.JSONObject

/** What was expected, what was found, what to do. */
class BadInput(message: String) : Exception(message)

/** Real numbers with a shape, row by row. */
class Tensor(val shape: List<Int>, val values: DoubleArray) {
    /** The picked rows of the first axis, in that order. */
    fun rows(indices: List<Int>): Tensor {
        val size = values.size / shape[0]
        val picked = DoubleArray(indices.size * size) { values[indices[it / size] * size + it % size] }
        return Tensor(listOf(indices.size) + shape.drop(1), picked)
    }
}

class ExportedBundle(assets: AssetManager) {
    private val manifestBytes = read(assets, "manifest.json")
    val manifest = JSONObject(manifestBytes.decodeToString())
    val model: ByteArray
    val golden: Map<String, Tensor>

    init {
        val target = manifest.getString("target")
        if (target != "onnx") throw BadInput("expected a bundle for onnx, found $target: export with --target onnx")
        model = read(assets, manifest.getJSONObject("artifact").getString("path"))
        golden = readSafetensors(read(assets, "golden.safetensors"))
    }

    val manifestSha256: String
        get() = MessageDigest.getInstance("SHA-256").digest(manifestBytes).joinToString("") { "%02x".format(it) }

    val settings: JSONObject get() = manifest.getJSONObject("artifact").getJSONObject("settings")
    val inputName: String get() = manifest.getJSONArray("inputs").getJSONObject(0).getString("name")
    val outputNames: List<String>
        get() {
            val all = manifest.getJSONArray("outputs")
            return List(all.length()) { all.getJSONObject(it).getString("name") }
        }

    /** Whether the model itself normalises: its input is then uint8 [B, H, W, 3]. */
    val takesBytes: Boolean get() = manifest.getJSONObject("preprocessing").getBoolean("embedded")

    /** The fixed batch size; null where it is dynamic. */
    val fixedBatch: Int?
        get() = manifest.getJSONObject("options").let { if (it.isNull("batch")) null else it.getInt("batch") }

    val images: Tensor
        get() = golden["input.$inputName"] ?: throw BadInput("expected input.$inputName in the golden file, found none")
}

private fun read(assets: AssetManager, name: String): ByteArray =
    try {
        assets.open(name).use { it.readBytes() }
    } catch (error: IOException) {
        throw BadInput("expected $name among the assets: build with -Pbundle=/absolute/path/of/a/bundle ($error)")
    }

/** Returns the arrays of a safetensors file: eight bytes of length, a header in JSON, the raw values, little-endian. */
fun readSafetensors(data: ByteArray): Map<String, Tensor> {
    val bytes = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN)
    val length = bytes.getLong(0).toInt()
    val header = JSONObject(data.decodeToString(8, 8 + length))
    return header.keys().asSequence().filter { it != "__metadata__" }.associateWith { name ->
        val entry = header.getJSONObject(name)
        val shape = entry.getJSONArray("shape").let { all -> List(all.length()) { all.getInt(it) } }
        val start = 8 + length + entry.getJSONArray("data_offsets").getInt(0)
        val count = shape.fold(1) { product, size -> product * size }
        val values = when (val type = entry.getString("dtype")) {
            "F64" -> DoubleArray(count) { bytes.getDouble(start + 8 * it) }
            "F32" -> DoubleArray(count) { bytes.getFloat(start + 4 * it).toDouble() }
            "U8" -> DoubleArray(count) { (bytes.get(start + it).toInt() and 0xff).toDouble() }
            else -> throw BadInput("expected F64, F32 or U8 numbers, $name has $type")
        }
        Tensor(shape, values)
    }
}
