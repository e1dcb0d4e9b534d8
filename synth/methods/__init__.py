"""Methods: steps that ask models. One file each, and one folder of prompts."""
