// Runs on the device: the bundle must be equal to the trained model there; then it is measured.
package slideexport.bench

import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import java.io.File
import java.time.Instant
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith

@RunWith(AndroidJUnit4::class)
class BundleTest {
    private val instrumentation = InstrumentationRegistry.getInstrumentation()
    private val arguments = InstrumentationRegistry.getArguments()

    @Test
    fun theBundleIsEqualToTheTrainedModelAndIsMeasured() {
        val began = Instant.now()
        val bundle = ExportedBundle(instrumentation.context.assets)
        Runner(bundle, number("threads", Runtime.getRuntime().availableProcessors())).use { runner ->
            val (equal, sentences) = runner.prove()
            sentences.forEach(::println)
            assertTrue(sentences.joinToString("\n"), equal)
            val roundsMs = runner.measure(number("rounds", 20), number("calls", 5))
            val result = resultJson(instrumentation.targetContext, bundle, runner, roundsMs, began)
            write(File(instrumentation.targetContext.getExternalFilesDir(null), "result.json"), result.toString(2))
        }
    }

    private fun number(name: String, otherwise: Int): Int = arguments.getString(name)?.toInt() ?: otherwise

    /** Writes beside the place and renames, so that nothing half written can be pulled. */
    private fun write(place: File, text: String) {
        val partial = File(place.path + ".partial")
        partial.writeText(text)
        check(partial.renameTo(place)) { "expected to write $place, the system does not let it" }
    }
}
