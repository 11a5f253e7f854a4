// SPDX-License-Identifier: MIT
/// A program without JUCE that asks about its license: `console URL PROJECT KEY STATE_FILE MACHINE`, then one command a
/// line on its input: `activate CODE`, `begin CODE` (and do not wait), `validate`, `deactivate`, `file PATH`, `status`,
/// `clock SECONDS` (moves its clock). With -DBEATCONNECT_WITH_CURL it asks over libcurl.
#include <atomic>
#include <chrono>
#include <ctime>
#include <fstream>
#include <iostream>
#include <sstream>

#include "beatconnect/activation.hpp"
#ifdef BEATCONNECT_WITH_CURL
#include "beatconnect/curl.hpp"
#endif

int main(int count, char** given) {
    if (count != 6) {
        std::cerr << "console URL PROJECT KEY STATE_FILE MACHINE\n";
        return 2;
    }
    std::atomic<std::int64_t> moved{0};
    beatconnect::Config config;
    config.api_url = given[1];
    config.project_id = given[2];
    config.public_key = given[3];
    config.state_file = given[4];
    config.machine_id = given[5];
    config.machine_name = "console";
#ifdef BEATCONNECT_WITH_CURL
    curl_global_init(CURL_GLOBAL_DEFAULT);
    config.transport = beatconnect::over_curl;
#endif
    config.timeout = std::chrono::milliseconds(60'000);
    config.now = [&moved] { return static_cast<std::int64_t>(std::time(nullptr)) + moved; };

    const auto begun = std::chrono::steady_clock::now();
    beatconnect::Activation activation(config);
    const auto took = std::chrono::steady_clock::now() - begun;
    std::cout << "made " << std::chrono::duration_cast<std::chrono::microseconds>(took).count() << std::endl;

    const auto tell = [](const beatconnect::Result& result) {
        std::cout << beatconnect::name_of(result.status) << ' ' << (result.ok ? "ok" : "no") << ' '
                  << (result.reached ? "reached" : "away") << ' ' << (result.verdict.empty() ? "-" : result.verdict) << ' '
                  << result.activations << '/' << result.max_activations << ' ' << result.message << std::endl;
    };
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string what, with;
        words >> what >> with;
        if (what == "activate") {
            tell(activation.activate(with).get());
        } else if (what == "begin") {
            activation.activate(with);
            std::cout << "begun" << std::endl;
        } else if (what == "validate") {
            tell(activation.validate().get());
        } else if (what == "deactivate") {
            tell(activation.deactivate().get());
        } else if (what == "file") {
            std::ifstream file(with, std::ios::binary);
            std::stringstream text;
            text << file.rdbuf();
            tell(activation.use_machine_file(text.str()).get());
        } else if (what == "clock") {
            moved = std::stoll(with);
            std::cout << "clock" << std::endl;
        } else {
            std::cout << beatconnect::name_of(activation.status()) << ' ' << (activation.allowed() ? "ok" : "no") << std::endl;
        }
    }
    return 0;
}
