"""The exercises, a module for each lesson: `lesson_NN.py` holds all that is known of them but their solutions."""
