"""The preview of a dataset folder: examples with their images and regions as one HTML file, or served page by page."""
