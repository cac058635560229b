"""The study of layers and scales (Ng, Yang and Davis 2015, section 4): which settings find a user's own images best."""
