// SPDX-License-Identifier: MIT
/// Answers with what `crypto.hpp` makes of each line of its input: `sha256 HEX`, `sha512 HEX`, `verify KEY MESSAGE SIGNATURE`
/// (all in hex, `-` is nothing).
#include <iostream>
#include <sstream>

#include "beatconnect/crypto.hpp"

static std::string bytes(const std::string& hex) {
    std::string found;
    for (std::size_t at = 0; hex != "-" && at + 1 < hex.size(); at += 2)
        found.push_back(static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16)));
    return found;
}

int main() {
    namespace crypto = beatconnect::crypto;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string what, first, second, third;
        words >> what >> first >> second >> third;
        if (what == "sha256") std::cout << crypto::hex(crypto::sha256(bytes(first))) << '\n';
        else if (what == "sha512") std::cout << crypto::hex(crypto::sha512(bytes(first))) << '\n';
        else std::cout << (crypto::verify(bytes(first), bytes(second), bytes(third)) ? "yes" : "no") << '\n';
    }
    return 0;
}
