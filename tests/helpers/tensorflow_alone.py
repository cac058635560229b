"""Runs an exported model in a process that can import TensorFlow but nothing of tfvlad, which made the model.

    python tensorflow_alone.py SAVED_MODEL IMAGE...

Prints one JSON document: the descriptors, which of them are valid, the fingerprint, and the best hit of each image
where the model holds an index.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
BLOCKED = ("tfvlad", "tfvlad_kernels", "keras", "numba", "hnswlib", "sklearn")


for name in BLOCKED:
    sys.modules[name] = None  # makes the import fail

import tensorflow as tf  # noqa: E402

signatures = tf.saved_model.load(sys.argv[1]).signatures
images = tf.stack([tf.io.read_file(path) for path in sys.argv[2:]])
served = signatures["serving_default"](image_bytes=images)
told = signatures["info"](probe=tf.constant([""]))
hits = signatures["search"](image_bytes=images, k=tf.ones(len(images), tf.int32)) if "search" in signatures else None
assert not any(sys.modules[name] for name in BLOCKED)
print(
    json.dumps(
        {
            "descriptor": served["descriptor"].numpy().tolist(),
            "valid": served["valid"].numpy().tolist(),
            "hits": hits and [[path.decode() for path in row] for row in hits["paths"].numpy()],
            "fingerprint": told["fingerprint"].numpy()[0].decode(),
        }
    )
)
