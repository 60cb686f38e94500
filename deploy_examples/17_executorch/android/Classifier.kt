package slideexport.executorch

import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor

/**
 * A program of slide-export: normalised images [B, 3, H, W] in, scores of every class out.
 *
 * build.gradle.kts: implementation("org.pytorch:executorch-android:1.5.1"), the number of the wheel that exported it.
 *
 * @param path of `model.pte` in the application's files; an asset has to be copied there first.
 * @param rows H and
 * @param cols W, as the bundle's manifest has them.
 * @param largest images in one call at most: `artifact.settings.largest` of the manifest.
 */
class Classifier(path: String, private val rows: Long, private val cols: Long, private val largest: Int) {
    private val module = Module.load(path)

    /** Scores of each image, one array after the other; more images than `largest` are refused. */
    fun scores(images: FloatArray): FloatArray {
        val count = images.size / (3 * rows * cols).toInt()
        require(count in 1..largest) { "expected 1 to $largest images in one call, found $count" }
        val input = Tensor.fromBlob(images, longArrayOf(count.toLong(), 3, rows, cols))
        return module.forward(EValue.from(input))[0].toTensor().dataAsFloatArray
    }
}
