"""Tables that hold the bytes of pictures: Parquet files, and datasets of Hugging Face on disk."""
