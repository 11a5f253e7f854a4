// SPDX-License-Identifier: MIT
/// A JUCE plug-in that is silent until it is activated: construction waits for nothing, the audio thread reads one atomic.
#include <juce_audio_processors/juce_audio_processors.h>

#include "beatconnect/activation.hpp"

namespace {

/// JUCE's own network, with the system's TLS.
beatconnect::Response over_juce(const beatconnect::Request& request) {
    int status = 0;
    const auto options = juce::URL::InputStreamOptions(juce::URL::ParameterHandling::inPostData)
                             .withConnectionTimeoutMs(static_cast<int>(request.timeout.count()))
                             .withExtraHeaders("Content-Type: application/json")
                             .withNumRedirectsToFollow(0)
                             .withStatusCode(&status)
                             .withProgressCallback([&request](int, int) { return !request.stop; });
    const auto stream = juce::URL(juce::String(request.url)).withPOSTData(juce::String(request.body)).createInputStream(options);
    if (stream == nullptr) return {0, "nobody answers"};
    return {status, stream->readEntireStreamAsString().toStdString()};
}

beatconnect::Config configured() {
    beatconnect::Config config;
    config.api_url = BEATCONNECT_URL;
    config.project_id = BEATCONNECT_PROJECT;
    config.public_key = BEATCONNECT_KEY;
    config.transport = over_juce;
    const auto folder = juce::File::getSpecialLocation(juce::File::userApplicationDataDirectory).getChildFile("LicensedGain");
    config.state_file = folder.getChildFile("activation.json").getFullPathName().toStdString();
    return config;
}

class Processor final : public juce::AudioProcessor {
  public:
    Processor()
        : AudioProcessor(BusesProperties()
                             .withInput("Input", juce::AudioChannelSet::stereo())
                             .withOutput("Output", juce::AudioChannelSet::stereo())),
          activation(configured()) {
        addParameter(gain = new juce::AudioParameterFloat({"gain", 1}, "Gain", 0.0f, 2.0f, 1.0f));
    }

    void processBlock(juce::AudioBuffer<float>& buffer, juce::MidiBuffer&) override {
        if (activation.allowed()) buffer.applyGain(*gain);
        else buffer.clear();
    }

    const juce::String getName() const override { return "Licensed Gain"; }
    void prepareToPlay(double, int) override {}
    void releaseResources() override {}
    double getTailLengthSeconds() const override { return 0.0; }
    bool acceptsMidi() const override { return false; }
    bool producesMidi() const override { return false; }
    bool hasEditor() const override { return true; }
    juce::AudioProcessorEditor* createEditor() override;
    int getNumPrograms() override { return 1; }
    int getCurrentProgram() override { return 0; }
    void setCurrentProgram(int) override {}
    const juce::String getProgramName(int) override { return {}; }
    void changeProgramName(int, const juce::String&) override {}
    void getStateInformation(juce::MemoryBlock& data) override { juce::MemoryOutputStream(data, true).writeFloat(*gain); }
    void setStateInformation(const void* data, int size) override {
        if (size == sizeof(float)) *gain = juce::MemoryInputStream(data, sizeof(float), false).readFloat();
    }

    beatconnect::Activation activation;

  private:
    juce::AudioParameterFloat* gain = nullptr;
};

/// A field for the code, a button, and how it stands.
class Editor final : public juce::AudioProcessorEditor, private juce::Timer {
  public:
    explicit Editor(Processor& owner) : AudioProcessorEditor(owner), processor(owner) {
        for (auto* each : std::initializer_list<juce::Component*>{&code, &button, &label}) addAndMakeVisible(each);
        button.setButtonText("Activate");
        button.onClick = [this] { processor.activation.activate(code.getText().toStdString()); };
        setSize(360, 120);
        startTimerHz(4);
    }

    void resized() override {
        auto area = getLocalBounds().reduced(10);
        code.setBounds(area.removeFromTop(30));
        button.setBounds(area.removeFromTop(30));
        label.setBounds(area);
    }

  private:
    void timerCallback() override {
        label.setText(beatconnect::name_of(processor.activation.status()), juce::dontSendNotification);
    }

    Processor& processor;
    juce::TextEditor code;
    juce::TextButton button;
    juce::Label label;
};

juce::AudioProcessorEditor* Processor::createEditor() { return new Editor(*this); }

}  // namespace

juce::AudioProcessor* JUCE_CALLTYPE createPluginFilter() { return new Processor(); }
