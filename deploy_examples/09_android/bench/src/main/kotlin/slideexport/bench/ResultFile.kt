// The result in slide-export's JSON schema, which exporter/result.py documents. Percentiles, throughput and comparisons
// are left out: whoever reads the file derives them from rounds_ms.
package slideexport.bench

import android.app.ActivityManager
import android.content.Context
import android.os.Build
import android.os.PowerManager
import java.io.File
import java.time.Instant
import java.time.ZoneOffset
import java.time.format.DateTimeFormatter
import java.time.temporal.ChronoUnit
import org.json.JSONObject

private val TOLD = Regex("asimd\\w*|fphp|i8mm|bf16|sve\\w*|neon")

fun resultJson(context: Context, bundle: ExportedBundle, runner: Runner, roundsMs: List<List<Double>>, began: Instant) =
    JSONObject(
        mapOf(
            "schema" to "slide-export/result/1",
            "measured" to DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss'+00:00'")
                .format(began.truncatedTo(ChronoUnit.SECONDS).atOffset(ZoneOffset.UTC)),
            "environment" to environmentJson(context, runner),
            "protocol" to protocolJson(roundsMs, runner),
            "runs" to listOf(runJson(bundle, runner, roundsMs)),
        ),
    )

fun protocolJson(roundsMs: List<List<Double>>, runner: Runner) =
    JSONObject(mapOf("rounds" to roundsMs.size, "calls" to roundsMs[0].size, "threads" to runner.threads))

fun runJson(bundle: ExportedBundle, runner: Runner, roundsMs: List<List<Double>>) =
    JSONObject(
        mapOf(
            "subject" to subjectJson(bundle),
            "evaluator" to "ONNX Runtime ${runner.version} on CPU",
            "batch" to (bundle.fixedBatch ?: 1),
            "settings" to bundle.settings,
            "rounds_ms" to roundsMs,
            "warmup_calls" to runner.warmUpCalls,
            "stable" to runner.stable,
            "load_ms" to runner.loadMs,
            "first_ms" to runner.firstMs,
            "peak_mib" to (peakMib() ?: JSONObject.NULL),
        ),
    )

fun subjectJson(bundle: ExportedBundle): JSONObject {
    val manifest = bundle.manifest
    val model = manifest.getJSONObject("model")
    val slides = manifest.getJSONArray("fusion").length() > 0
    // Schema 1 had the precision's name alone, and the form of slide attention as "lowering".
    val precision = manifest.optJSONObject("precision")?.getString("name") ?: manifest.getString("precision")
    val options = manifest.getJSONObject("options")
    val form = options.getString(if (options.has("form")) "form" else "lowering")
    return JSONObject(
        mapOf(
            "name" to manifest.getString("name"),
            "target" to manifest.getString("target"),
            "precision" to precision,
            "family" to model.getString("family"),
            "variant" to model.getString("variant"),
            "image_size" to model.getJSONArray("image_size"),
            "lowering" to if (slides) form else "",
            "parameters" to model.getLong("parameters"),
            "macs" to model.getLong("macs"),
            "artifact_bytes" to manifest.getJSONObject("artifact").getLong("bytes"),
            "manifest_sha256" to bundle.manifestSha256,
            "parity" to manifest.getJSONObject("parity"),
            "accuracy" to (manifest.opt("accuracy") ?: JSONObject.NULL),
        ),
    )
}

fun environmentJson(context: Context, runner: Runner): JSONObject {
    val memory = ActivityManager.MemoryInfo()
    (context.getSystemService(Context.ACTIVITY_SERVICE) as ActivityManager).getMemoryInfo(memory)
    val chip = if (Build.VERSION.SDK_INT >= 31) Build.SOC_MODEL else Build.HARDWARE
    return JSONObject(
        mapOf(
            "device" to "${Build.MANUFACTURER} ${Build.MODEL}",
            "cpu" to chip,
            "flags" to flags(),
            "cores" to Runtime.getRuntime().availableProcessors(),
            "memory_mib" to memory.totalMem / 1_048_576,
            "governor" to text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").trim(),
            "system" to "Android ${Build.VERSION.RELEASE} (API ${Build.VERSION.SDK_INT})",
            "versions" to mapOf("onnxruntime" to runner.version),
            "warnings" to doubts(context),
        ),
    )
}

private fun doubts(context: Context): List<String> {
    val power = context.getSystemService(Context.POWER_SERVICE) as PowerManager
    return listOfNotNull(
        "the device was warm: Android limited its speed"
            .takeIf { power.currentThermalStatus > PowerManager.THERMAL_STATUS_NONE },
        "battery saver was on".takeIf { power.isPowerSaveMode },
    )
}

private fun flags(): List<String> {
    val line = text("/proc/cpuinfo").lineSequence().firstOrNull { it.startsWith("Features") } ?: return emptyList()
    return line.substringAfter(':').split(' ').filter { TOLD.matches(it) }
}

/** The largest resident set of this process; null where the system does not tell. */
private fun peakMib(): Double? =
    text("/proc/self/status").lineSequence().firstOrNull { it.startsWith("VmHWM:") }
        ?.filter { it.isDigit() }?.toDoubleOrNull()?.div(1024)

/** What a file of the system holds; empty where an app may not read it. */
private fun text(path: String): String = runCatching { File(path).readText() }.getOrDefault("")
