"""May this light be, and is it so?"""
