"""The torch-free runtime: embed, classify, micro-batch, swap."""

from headwater.serving.batching import MicroBatcher
from headwater.serving.classifier import Classifier, Prediction, load_classifier
from headwater.serving.encoder import Encoder, load_encoder
from headwater.serving.encoders import Encoders
from headwater.serving.live import Live

__all__ = ["Classifier", "Encoder", "Encoders", "Live", "MicroBatcher", "Prediction", "load_classifier", "load_encoder"]
