// A bundle's model.tflite, from the app's assets, under LiteRT on the phone's CPU.
package slideexport.litert

import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/** Scores of one normalised image, or of one batch of the size that the bundle was exported with. */
class BundleClassifier(assets: AssetManager, bundle: String) : AutoCloseable {
    // The CPU computes what was proved. A GPU computes in float16: prove the golden images on it first.
    private val model = CompiledModel.create(assets, "$bundle/model.tflite", CompiledModel.Options(Accelerator.CPU))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    /** [batch, 3, rows, columns] in the order of memory, as the manifest's preprocessing says; one array an output. */
    fun scores(images: FloatArray): List<FloatArray> {
        inputs[0].writeFloat(images)
        model.run(inputs, outputs)
        return outputs.map { it.readFloat() }
    }

    /** Whether the phone gives what the trained model gave, within the manifest's limit for the output. */
    fun isEqual(images: FloatArray, expected: FloatArray, limit: Float): Boolean {
        val found = scores(images)[0]
        require(found.size == expected.size) { "expected ${expected.size} scores, found ${found.size}" }
        return found.indices.all { kotlin.math.abs(found[it] - expected[it]) <= limit } // NaN is not
    }

    override fun close() {
        inputs.forEach { it.close() }
        outputs.forEach { it.close() }
        model.close()
    }
}
