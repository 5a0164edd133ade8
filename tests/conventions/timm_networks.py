"""The networks of timm that conventions are held to where all are."""

from __future__ import annotations

SMALL_OF_TIMM = {
    64: """
        convmixer_768_32 convnext_atto_rms cpubone_nano cs3darknet_focus_s csatv2 cspnext_tiny davit_tiny
        densenet121 dla46x_c dpn48b edgenext_xx_small efficientvim_m1 efficientvit_b0 ese_vovnet19b_slim_dw
        fasternet_t0 fastvit_t8 focalnet_tiny_srf ghostnet_050 hardcorenas_b hgnetv2_b0 hrnet_w18_small
        iformer_t inception_next_atto lcnetv2_small legacy_seresnet18 legacy_xception lowformer_b0 mixnet_s
        mobilenetv3_small_050 mobilenetv5_base mobilevit_xxs naflexvit_base_patch16_parfac_gap nextvit_small
        poolformerv2_s12 pvt_v2_b0 qwen3_vit_88m rdnet_tiny regnetx_002 repghostnet_050 repvit_m1 res2next50
        resnest14d resnetv2_18 rexnet_100 sam2_hiera_tiny selecsls42 shvit_s1 skresnet18 starnet_s050
        test_byobnet test_mambaout test_nfnet test_resnet tiny_vit_5m_224 tresnet_m xception41p
    """,
    96: """
        inception_resnet_v2 inception_v3 inception_v4
    """,
    160: """
        test_vit test_vit_relpos
    """,
    224: """
        cait_xxs24_224 coat_tiny coatnet_pico_rw_224 convit_tiny deit_tiny_patch16_224 efficientformer_l1
        efficientformerv2_s0 efficientvit_m0 eva02_tiny_patch14_224 gcvit_xxtiny gmlp_ti16_224
        hiera_tiny_224 levit_128s mvitv2_tiny nest_tiny pit_ti_224 samvit_base_patch16_224 sequencer2d_s
        swiftformer_xs swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 tnt_s_legacy_patch16_224
        twins_svt_small visformer_tiny vit_tiny_patch16_224 vit_tiny_r_s16_p8_224 vitamin_small_224
        volo_d1_224 xcit_nano_12_p8_224
    """,
    240: """
        crossvit_tiny_240
    """,
    256: """
        halonet_h1 swinv2_tiny_window8_256
    """,
}
"""A small network of nearly each of timm's files, by the side of its image: 64, or else the least that it takes."""

TIMM = {name: side for side, names in SMALL_OF_TIMM.items() for name in names.split()}
