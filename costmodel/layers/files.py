"""Which file of ``costmodel.layers`` has which class of ``torch.nn``. A test holds this to what the files register."""

from __future__ import annotations

FILES = {
    "torch_nn": (
        "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d "
        "AdaptiveMaxPool3d AlphaDropout AvgPool1d AvgPool2d AvgPool3d BatchNorm1d BatchNorm2d BatchNorm3d "
        "Bilinear CELU Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d Dropout Dropout1d "
        "Dropout2d Dropout3d ELU FeatureAlphaDropout Flatten FractionalMaxPool2d FractionalMaxPool3d GELU GLU "
        "GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh Identity InstanceNorm1d InstanceNorm2d "
        "InstanceNorm3d LPPool1d LPPool2d LPPool3d LayerNorm LeakyReLU LocalResponseNorm LogSigmoid "
        "LogSoftmax MaxPool1d MaxPool2d MaxPool3d Mish PReLU PairwiseDistance RMSNorm RReLU ReLU ReLU6 SELU "
        "SiLU Sigmoid Softmax Softmax2d Softmin Softplus Softshrink Softsign SyncBatchNorm Tanh Tanhshrink "
        "Threshold Unflatten"
    ),
    "torch_nn_attention": "MultiheadAttention",
    "torch_nn_linear": "Linear",
    "torch_nn_losses": (
        "BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss "
        "HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss LinearCrossEntropyLoss MSELoss MarginRankingLoss "
        "MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss PoissonNLLLoss SmoothL1Loss "
        "SoftMarginLoss TripletMarginLoss TripletMarginWithDistanceLoss"
    ),
    "torch_nn_resampling": (
        "ChannelShuffle CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d "
        "Fold MaxUnpool1d MaxUnpool2d MaxUnpool3d PixelShuffle PixelUnshuffle ReflectionPad1d ReflectionPad2d "
        "ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d Unfold Upsample "
        "UpsamplingBilinear2d UpsamplingNearest2d ZeroPad1d ZeroPad2d ZeroPad3d"
    ),
    "torch_nn_sequences": "Embedding EmbeddingBag GRU GRUCell LSTM LSTMCell RNN RNNCell",
    "torch_nn_transformers": (
        "Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer"
    ),
}

OF_OTHER_MODULES = "torch_nn_quantized"
"""The file of classes of other modules, those of ``torch.ao.nn``."""

FILE_OF = {name: file for file, names in FILES.items() for name in names.split()}
