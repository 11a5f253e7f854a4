#include "DistrhoPlugin.hpp"

START_NAMESPACE_DISTRHO

/// Multiplies what comes in.
class Gain : public Plugin {
  public:
    Gain() : Plugin(1, 0, 0) {}

  protected:
    const char* getLabel() const override { return "Gain"; }
    const char* getMaker() const override { return "Ledgerline"; }
    const char* getLicense() const override { return "ISC"; }
    uint32_t getVersion() const override { return d_version(1, 0, 0); }
    int64_t getUniqueId() const override { return d_cconst('L', 'g', 'a', 'i'); }

    void initParameter(uint32_t, Parameter& parameter) override {
        parameter.hints = kParameterIsAutomatable;
        parameter.name = "Gain";
        parameter.symbol = "gain";
        parameter.ranges.def = 1.0f;
        parameter.ranges.min = 0.0f;
        parameter.ranges.max = 4.0f;
    }
    float getParameterValue(uint32_t) const override { return factor; }
    void setParameterValue(uint32_t, float value) override { factor = value; }

    void run(const float** inputs, float** outputs, uint32_t frames) override {
        for (int channel = 0; channel < 2; ++channel)
            for (uint32_t at = 0; at < frames; ++at) outputs[channel][at] = factor * inputs[channel][at];
    }

  private:
    float factor = 1.0f;
};

Plugin* createPlugin() { return new Gain(); }

END_NAMESPACE_DISTRHO
