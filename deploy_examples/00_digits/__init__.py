"""A Slide-Swin small enough to train in minutes on two cores, and the 500 images it never saw."""  # noqa: N999
