// A library module for an Android project; it has not been built here.
plugins {
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "slideexport.litert"
    compileSdk = 35
    defaultConfig { minSdk = 24 }
    androidResources { noCompress += "tflite" }
}

dependencies {
    implementation("com.google.ai.edge.litert:litert:2.3.0")
}
