"""minituner: what does a LoRA adapter of rank r buy, and what does it break?"""

__version__ = "0.1.0"
