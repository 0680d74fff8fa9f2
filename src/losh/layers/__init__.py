"""Network layers that several base pipelines use."""
