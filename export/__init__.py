"""Train, quantize, convert and score mask models; nothing here is needed at run time.

Keras runs on JAX unless KERAS_BACKEND says otherwise: of the three backends it trains this network
fastest on a CPU (docs/decisions).
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
