#pragma once

#define DISTRHO_PLUGIN_BRAND "Ledgerline"
#define DISTRHO_PLUGIN_NAME "Gain"
#define DISTRHO_PLUGIN_URI "urn:ledgerline:gain"
#define DISTRHO_PLUGIN_CLAP_ID "org.ledgerline.gain"
#define DISTRHO_PLUGIN_CLAP_FEATURES "audio-effect", "stereo"
#define DISTRHO_PLUGIN_HAS_UI 0
#define DISTRHO_PLUGIN_IS_RT_SAFE 1
#define DISTRHO_PLUGIN_NUM_INPUTS 2
#define DISTRHO_PLUGIN_NUM_OUTPUTS 2
