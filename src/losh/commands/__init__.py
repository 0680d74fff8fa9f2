"""What the console script does besides predicting: recipes, the ablation, summaries."""
