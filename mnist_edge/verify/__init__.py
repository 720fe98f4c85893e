"""Does every exported file give Keras's predictions?"""
