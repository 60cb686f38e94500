"""The fused model and its forms: the same mathematics in the operators that a target runs best."""
