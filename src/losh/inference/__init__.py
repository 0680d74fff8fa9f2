"""Running a trained model: what training, evaluation and prediction share."""
