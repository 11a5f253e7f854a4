// SPDX-License-Identifier: MIT
/// SHA-256, SHA-512 (FIPS 180-4), base64 (RFC 4648) and the verification of Ed25519 (RFC 8032, 5.1.7).
///
/// Nothing here is secret, so nothing here takes the same time for everything: it checks signatures, it makes none.
/// One verification takes some milliseconds and is done on a thread of its own, never where sound is made.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace beatconnect::crypto {

// --- hashes ----------------------------------------------------------------------------------------------------------

namespace detail {

/// The fractional parts of the cube roots of the first 80 primes; SHA-256 takes the upper halves of the first 64.
inline constexpr std::array<std::uint64_t, 80> roots{
    0x428a2f98d728ae22ULL, 0x7137449123ef65cdULL, 0xb5c0fbcfec4d3b2fULL, 0xe9b5dba58189dbbcULL,
    0x3956c25bf348b538ULL, 0x59f111f1b605d019ULL, 0x923f82a4af194f9bULL, 0xab1c5ed5da6d8118ULL,
    0xd807aa98a3030242ULL, 0x12835b0145706fbeULL, 0x243185be4ee4b28cULL, 0x550c7dc3d5ffb4e2ULL,
    0x72be5d74f27b896fULL, 0x80deb1fe3b1696b1ULL, 0x9bdc06a725c71235ULL, 0xc19bf174cf692694ULL,
    0xe49b69c19ef14ad2ULL, 0xefbe4786384f25e3ULL, 0x0fc19dc68b8cd5b5ULL, 0x240ca1cc77ac9c65ULL,
    0x2de92c6f592b0275ULL, 0x4a7484aa6ea6e483ULL, 0x5cb0a9dcbd41fbd4ULL, 0x76f988da831153b5ULL,
    0x983e5152ee66dfabULL, 0xa831c66d2db43210ULL, 0xb00327c898fb213fULL, 0xbf597fc7beef0ee4ULL,
    0xc6e00bf33da88fc2ULL, 0xd5a79147930aa725ULL, 0x06ca6351e003826fULL, 0x142929670a0e6e70ULL,
    0x27b70a8546d22ffcULL, 0x2e1b21385c26c926ULL, 0x4d2c6dfc5ac42aedULL, 0x53380d139d95b3dfULL,
    0x650a73548baf63deULL, 0x766a0abb3c77b2a8ULL, 0x81c2c92e47edaee6ULL, 0x92722c851482353bULL,
    0xa2bfe8a14cf10364ULL, 0xa81a664bbc423001ULL, 0xc24b8b70d0f89791ULL, 0xc76c51a30654be30ULL,
    0xd192e819d6ef5218ULL, 0xd69906245565a910ULL, 0xf40e35855771202aULL, 0x106aa07032bbd1b8ULL,
    0x19a4c116b8d2d0c8ULL, 0x1e376c085141ab53ULL, 0x2748774cdf8eeb99ULL, 0x34b0bcb5e19b48a8ULL,
    0x391c0cb3c5c95a63ULL, 0x4ed8aa4ae3418acbULL, 0x5b9cca4f7763e373ULL, 0x682e6ff3d6b2b8a3ULL,
    0x748f82ee5defb2fcULL, 0x78a5636f43172f60ULL, 0x84c87814a1f0ab72ULL, 0x8cc702081a6439ecULL,
    0x90befffa23631e28ULL, 0xa4506cebde82bde9ULL, 0xbef9a3f7b2c67915ULL, 0xc67178f2e372532bULL,
    0xca273eceea26619cULL, 0xd186b8c721c0c207ULL, 0xeada7dd6cde0eb1eULL, 0xf57d4f7fee6ed178ULL,
    0x06f067aa72176fbaULL, 0x0a637dc5a2c898a6ULL, 0x113f9804bef90daeULL, 0x1b710b35131c471bULL,
    0x28db77f523047d84ULL, 0x32caab7b40c72493ULL, 0x3c9ebe0a15c9bebcULL, 0x431d67c49c100d4cULL,
    0x4cc5d4becb3e42b6ULL, 0x597f299cfc657e2aULL, 0x5fcb6fab3ad6faecULL, 0x6c44198c4a475817ULL,
};
/// The fractional parts of the square roots of the first 8 primes.
inline constexpr std::array<std::uint64_t, 8> beginnings{
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL,
};

template <typename Word, int Rounds>
struct Hash {
    static constexpr int block = 16 * static_cast<int>(sizeof(Word));
    static constexpr int size = 8 * static_cast<int>(sizeof(Word));
    static constexpr bool wide = sizeof(Word) == 8;

    static Word turned(Word word, int by) {
        return static_cast<Word>((word >> by) | (word << (8 * static_cast<int>(sizeof(Word)) - by)));
    }
    static Word constant(std::uint64_t value) { return static_cast<Word>(wide ? value : value >> 32); }

    static void mix(std::array<Word, 8>& state, const unsigned char* data) {
        std::array<Word, Rounds> w{};
        for (int i = 0; i < 16; ++i)
            for (unsigned byte = 0; byte < sizeof(Word); ++byte)
                w[i] = static_cast<Word>((w[i] << 8) | data[i * static_cast<int>(sizeof(Word)) + static_cast<int>(byte)]);
        for (int i = 16; i < Rounds; ++i) {
            const Word a = w[i - 15], b = w[i - 2];
            const Word s0 = wide ? turned(a, 1) ^ turned(a, 8) ^ (a >> 7) : turned(a, 7) ^ turned(a, 18) ^ (a >> 3);
            const Word s1 = wide ? turned(b, 19) ^ turned(b, 61) ^ (b >> 6) : turned(b, 17) ^ turned(b, 19) ^ (b >> 10);
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        auto s = state;
        for (int i = 0; i < Rounds; ++i) {
            const Word e1 = wide ? turned(s[4], 14) ^ turned(s[4], 18) ^ turned(s[4], 41)
                                 : turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25);
            const Word a1 = wide ? turned(s[0], 28) ^ turned(s[0], 34) ^ turned(s[0], 39)
                                 : turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22);
            const Word chosen = (s[4] & s[5]) ^ (~s[4] & s[6]);
            const Word most = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
            const Word one = s[7] + e1 + chosen + constant(roots[static_cast<std::size_t>(i)]) + w[i];
            const Word two = a1 + most;
            s = {one + two, s[0], s[1], s[2], s[3] + one, s[4], s[5], s[6]};
        }
        for (int i = 0; i < 8; ++i) state[i] += s[i];
    }

    static std::array<unsigned char, size> of(std::string_view text) {
        std::array<Word, 8> state{};
        for (int i = 0; i < 8; ++i) state[i] = constant(beginnings[static_cast<std::size_t>(i)]);
        std::string rest(text);
        rest.push_back(static_cast<char>(0x80));
        // The length has two words, of which no text that fits into memory fills more than 64 bits.
        while (rest.size() % block != block - 2 * sizeof(Word)) rest.push_back('\0');
        if (wide) rest.append(8, '\0');
        const auto bits = static_cast<std::uint64_t>(text.size()) * 8;
        for (int shift = 56; shift >= 0; shift -= 8) rest.push_back(static_cast<char>((bits >> shift) & 0xff));
        for (std::size_t at = 0; at < rest.size(); at += block)
            mix(state, reinterpret_cast<const unsigned char*>(rest.data()) + at);
        std::array<unsigned char, size> digest{};
        for (int i = 0; i < size; ++i) {
            const int word = i / static_cast<int>(sizeof(Word)), byte = i % static_cast<int>(sizeof(Word));
            digest[i] = static_cast<unsigned char>(state[word] >> (8 * (static_cast<int>(sizeof(Word)) - 1 - byte)));
        }
        return digest;
    }
};

}  // namespace detail

inline std::array<unsigned char, 32> sha256(std::string_view text) { return detail::Hash<std::uint32_t, 64>::of(text); }
inline std::array<unsigned char, 64> sha512(std::string_view text) { return detail::Hash<std::uint64_t, 80>::of(text); }

template <std::size_t Size>
std::string hex(const std::array<unsigned char, Size>& bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (const unsigned char byte : bytes) {
        text.push_back(digits[byte >> 4]);
        text.push_back(digits[byte & 15]);
    }
    return text;
}

/// The bytes behind base64 with its padding; line ends in it are passed over, anything else makes it none.
inline std::optional<std::string> from_base64(std::string_view text) {
    std::string bytes;
    std::uint32_t held = 0;
    int bits = 0, padding = 0;
    std::size_t letters = 0;
    for (const char letter : text) {
        if (letter == '\n' || letter == '\r') continue;
        ++letters;
        int value = 0;
        if (letter == '=') {
            if (++padding > 2) return std::nullopt;
            continue;
        }
        if (padding) return std::nullopt;
        if (letter >= 'A' && letter <= 'Z') value = letter - 'A';
        else if (letter >= 'a' && letter <= 'z') value = letter - 'a' + 26;
        else if (letter >= '0' && letter <= '9') value = letter - '0' + 52;
        else if (letter == '+') value = 62;
        else if (letter == '/') value = 63;
        else return std::nullopt;
        held = (held << 6) | static_cast<std::uint32_t>(value);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes.push_back(static_cast<char>((held >> bits) & 0xff));
        }
    }
    if (letters % 4 || (bits && (held & ((1u << bits) - 1)))) return std::nullopt;
    return bytes;
}

// --- Ed25519 ---------------------------------------------------------------------------------------------------------

namespace detail {

/// A number modulo 2^255 - 19 in sixteen limbs of sixteen bits, which every machine multiplies without overflow.
struct Field {
    std::array<std::uint64_t, 16> limb{};

    static Field of(std::uint64_t small) {
        Field made;
        made.limb[0] = small;
        return made;
    }

    Field& carry() {
        for (int round = 0; round < 2; ++round) {
            std::uint64_t over = 0;
            for (auto& each : limb) {
                each += over;
                over = each >> 16;
                each &= 0xffff;
            }
            limb[0] += 38 * over;
        }
        return *this;
    }

    friend Field operator+(const Field& a, const Field& b) {
        Field sum;
        for (int i = 0; i < 16; ++i) sum.limb[i] = a.limb[i] + b.limb[i];
        return sum.carry();
    }

    friend Field operator-(const Field& a, const Field& b) {
        Field difference;
        // Four times the modulus is added first, so that no limb goes below nothing.
        for (int i = 0; i < 16; ++i) {
            const std::uint64_t four = i == 0 ? 0x3ffb4 : i == 15 ? 0x1fffc : 0x3fffc;
            difference.limb[i] = a.limb[i] + four - b.limb[i];
        }
        return difference.carry();
    }

    friend Field operator*(const Field& a, const Field& b) {
        std::array<std::uint64_t, 32> wide{};
        for (int i = 0; i < 16; ++i)
            for (int j = 0; j < 16; ++j) wide[i + j] += a.limb[i] * b.limb[j];
        Field product;
        for (int i = 0; i < 16; ++i) product.limb[i] = wide[i] + 38 * wide[i + 16];
        return product.carry();
    }

    /// The one number between nothing and the modulus that this is, in 32 bytes, the least first.
    std::array<unsigned char, 32> bytes() const {
        Field whole = *this;
        whole.carry().carry();
        for (int round = 0; round < 3; ++round) {
            Field less;
            std::uint64_t borrow = 0;
            for (int i = 0; i < 16; ++i) {
                const std::uint64_t modulus = (i == 0 ? 0xffed : i == 15 ? 0x7fff : 0xffff) + borrow;
                borrow = whole.limb[i] < modulus ? 1 : 0;
                less.limb[i] = (whole.limb[i] + (borrow << 16)) - modulus;
            }
            if (!borrow) whole = less;
        }
        std::array<unsigned char, 32> found{};
        for (int i = 0; i < 16; ++i) {
            found[2 * i] = static_cast<unsigned char>(whole.limb[i] & 0xff);
            found[2 * i + 1] = static_cast<unsigned char>(whole.limb[i] >> 8);
        }
        return found;
    }

    friend bool operator==(const Field& a, const Field& b) { return a.bytes() == b.bytes(); }

    /// This to the power of 2^255 - 19 less what `exponent` says, from the highest bit on.
    Field power(const std::array<unsigned char, 32>& exponent) const {
        Field result = of(1);
        for (int bit = 255; bit >= 0; --bit) {
            result = result * result;
            if ((exponent[bit / 8] >> (bit % 8)) & 1) result = result * *this;
        }
        return result;
    }
};

/// 2^bits - less, as an exponent, the least byte first.
inline std::array<unsigned char, 32> below(int bits, int less) {
    std::array<unsigned char, 32> found{};
    for (int bit = 0; bit < bits; ++bit) found[bit / 8] = static_cast<unsigned char>(found[bit / 8] | (1 << (bit % 8)));
    found[0] = static_cast<unsigned char>(found[0] - (less - 1));
    return found;
}

inline Field inverse(const Field& number) { return number.power(below(255, 21)); }

/// A point of the curve in extended coordinates (RFC 8032, 5.1.4).
struct Point {
    Field x, y, z, t;
};

struct Curve {
    Field d, root;  ///< The curve's constant, and a square root of -1.
    Point base;

    Curve() : d(Field::of(0) - Field::of(121665) * inverse(Field::of(121666))), root(Field::of(2).power(below(253, 5))) {
        auto y = (Field::of(4) * inverse(Field::of(5))).bytes();
        base = *decoded(y);
    }

    std::optional<Point> decoded(std::array<unsigned char, 32> bytes) const {
        const int sign = bytes[31] >> 7;
        bytes[31] &= 0x7f;
        Field y;
        for (int i = 0; i < 16; ++i) y.limb[i] = static_cast<std::uint64_t>(bytes[2 * i] | (bytes[2 * i + 1] << 8));
        if (y.bytes() != bytes) return std::nullopt;
        const Field square = (y * y - Field::of(1)) * inverse(d * y * y + Field::of(1));
        Field x = square.power(below(252, 2));
        if (!(x * x == square)) x = x * root;
        if (!(x * x == square)) return std::nullopt;
        const auto told = x.bytes();
        if (x == Field::of(0) && sign) return std::nullopt;
        if ((told[0] & 1) != sign) x = Field::of(0) - x;
        return Point{x, y, Field::of(1), x * y};
    }

    Point sum(const Point& one, const Point& two) const {
        const Field a = (one.y - one.x) * (two.y - two.x), b = (one.y + one.x) * (two.y + two.x);
        const Field c = Field::of(2) * one.t * two.t * d, e = Field::of(2) * one.z * two.z;
        const Field f = b - a, g = e - c, h = e + c, k = b + a;
        return {f * g, h * k, g * h, f * k};
    }

    Point times(const std::array<unsigned char, 32>& factor, const Point& point) const {
        Point total{Field::of(0), Field::of(1), Field::of(1), Field::of(0)};
        for (int bit = 255; bit >= 0; --bit) {
            total = sum(total, total);
            if ((factor[bit / 8] >> (bit % 8)) & 1) total = sum(total, point);
        }
        return total;
    }
};

inline const Curve& curve() {
    static const Curve made;
    return made;
}

/// The order of the base point, the least byte first.
inline constexpr std::array<unsigned char, 32> order{
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10,
};

inline bool is_below_order(const std::array<unsigned char, 32>& number) {
    for (int i = 31; i >= 0; --i)
        if (number[i] != order[i]) return number[i] < order[i];
    return false;
}

/// A number of 512 bits modulo the order, bit by bit.
inline std::array<unsigned char, 32> reduced(const std::array<unsigned char, 64>& number) {
    std::array<unsigned char, 32> rest{};
    for (int bit = 511; bit >= 0; --bit) {
        int over = (number[bit / 8] >> (bit % 8)) & 1;
        for (auto& byte : rest) {
            const int doubled = 2 * byte + over;
            byte = static_cast<unsigned char>(doubled & 0xff);
            over = doubled >> 8;
        }
        if (!is_below_order(rest)) {
            int borrow = 0;
            for (int i = 0; i < 32; ++i) {
                const int less = rest[i] - order[i] - borrow;
                borrow = less < 0 ? 1 : 0;
                rest[i] = static_cast<unsigned char>(less & 0xff);
            }
        }
    }
    return rest;
}

}  // namespace detail

/// Whether the key (32 bytes) has signed the message; `signature` is 64 bytes.
inline bool verify(std::string_view key, std::string_view message, std::string_view signature) {
    if (key.size() != 32 || signature.size() != 64) return false;
    std::array<unsigned char, 32> a{}, r{}, s{};
    std::memcpy(a.data(), key.data(), 32);
    std::memcpy(r.data(), signature.data(), 32);
    std::memcpy(s.data(), signature.data() + 32, 32);
    if (!detail::is_below_order(s)) return false;
    const auto& curve = detail::curve();
    const auto owner = curve.decoded(a), nonce = curve.decoded(r);
    if (!owner || !nonce) return false;
    std::string hashed(signature.substr(0, 32));
    hashed.append(key).append(message);
    const auto left = curve.times(s, curve.base);
    const auto right = curve.sum(*nonce, curve.times(detail::reduced(sha512(hashed)), *owner));
    return left.x * right.z == right.x * left.z && left.y * right.z == right.y * left.z;
}

}  // namespace beatconnect::crypto
