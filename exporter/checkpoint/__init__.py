"""From a file to a trained model, strictly loaded. Imports core, models and inference."""
