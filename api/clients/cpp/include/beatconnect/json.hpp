// SPDX-License-Identifier: MIT
/// As much of JSON (RFC 8259) as answers of the service and the file beside a plug-in have.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace beatconnect::json {

struct Value;
using Object = std::map<std::string, Value>;
using Array = std::vector<Value>;

struct Value {
    std::variant<std::nullptr_t, bool, double, std::string, Array, Object> held{nullptr};

    /// A member of an object; null where this is none, or has none of that name.
    const Value& operator[](const std::string& name) const {
        static const Value nothing;
        const auto* object = std::get_if<Object>(&held);
        if (object == nullptr) return nothing;
        const auto found = object->find(name);
        return found == object->end() ? nothing : found->second;
    }

    /// The text that this is, or the empty one.
    std::string text() const {
        const auto* found = std::get_if<std::string>(&held);
        return found == nullptr ? std::string() : *found;
    }

    /// The whole number that this is, or nothing.
    std::int64_t number() const {
        const auto* found = std::get_if<double>(&held);
        return found == nullptr || !(*found > -9e15 && *found < 9e15) ? 0 : static_cast<std::int64_t>(*found);
    }

    bool is_true() const {
        const auto* found = std::get_if<bool>(&held);
        return found != nullptr && *found;
    }

    bool is_object() const { return std::holds_alternative<Object>(held); }
};

namespace detail {

class Reader {
  public:
    explicit Reader(std::string_view text) : text_(text) {}

    std::optional<Value> all() {
        auto value = one(0);
        space();
        return value && at_ == text_.size() ? value : std::nullopt;
    }

  private:
    static constexpr int depth_max = 32;

    void space() {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
    }

    bool take(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    std::optional<Value> one(int depth) {
        space();
        if (depth > depth_max || at_ >= text_.size()) return std::nullopt;
        if (take("null")) return Value{};
        if (take("true")) return Value{true};
        if (take("false")) return Value{false};
        if (text_[at_] == '"') {
            auto found = quoted();
            return found ? std::optional<Value>(Value{std::move(*found)}) : std::nullopt;
        }
        if (take("[")) return array(depth);
        if (take("{")) return object(depth);
        return numeral();
    }

    std::optional<Value> array(int depth) {
        Array found;
        space();
        if (take("]")) return Value{std::move(found)};
        do {
            auto each = one(depth + 1);
            if (!each) return std::nullopt;
            found.push_back(std::move(*each));
            space();
        } while (take(","));
        return take("]") ? std::optional<Value>(Value{std::move(found)}) : std::nullopt;
    }

    std::optional<Value> object(int depth) {
        Object found;
        space();
        if (take("}")) return Value{std::move(found)};
        do {
            space();
            auto name = quoted();
            space();
            if (!name || !take(":")) return std::nullopt;
            auto each = one(depth + 1);
            if (!each) return std::nullopt;
            found.insert_or_assign(std::move(*name), std::move(*each));
            space();
        } while (take(","));
        return take("}") ? std::optional<Value>(Value{std::move(found)}) : std::nullopt;
    }

    std::optional<Value> numeral() {
        const auto begin = at_;
        while (at_ < text_.size() && std::string_view("+-.0123456789eE").find(text_[at_]) != std::string_view::npos) ++at_;
        const std::string text(text_.substr(begin, at_ - begin));
        char* end = nullptr;
        const double number = std::strtod(text.c_str(), &end);
        if (text.empty() || *end != '\0') return std::nullopt;
        return Value{number};
    }

    std::optional<std::string> quoted() {
        if (!take("\"")) return std::nullopt;
        std::string found;
        while (at_ < text_.size()) {
            const char letter = text_[at_++];
            if (letter == '"') return found;
            if (letter != '\\') {
                found.push_back(letter);
                continue;
            }
            if (at_ >= text_.size()) return std::nullopt;
            const char meant = text_[at_++];
            static constexpr std::string_view names = "\"\\/bfnrt", letters = "\"\\/\b\f\n\r\t";
            if (const auto place = names.find(meant); place != std::string_view::npos) {
                found.push_back(letters[place]);
            } else if (meant == 'u') {
                const auto unit = four();
                if (!unit) return std::nullopt;
                std::uint32_t point = *unit;
                if (point >= 0xd800 && point < 0xdc00) {
                    if (!take("\\u")) return std::nullopt;
                    const auto low = four();
                    if (!low || *low < 0xdc00 || *low > 0xdfff) return std::nullopt;
                    point = 0x10000 + ((point - 0xd800) << 10) + (*low - 0xdc00);
                }
                add(found, point);
            } else {
                return std::nullopt;
            }
        }
        return std::nullopt;
    }

    std::optional<std::uint32_t> four() {
        std::uint32_t value = 0;
        for (int i = 0; i < 4; ++i) {
            if (at_ >= text_.size()) return std::nullopt;
            const char digit = text_[at_++];
            value <<= 4;
            if (digit >= '0' && digit <= '9') value += static_cast<std::uint32_t>(digit - '0');
            else if (digit >= 'a' && digit <= 'f') value += static_cast<std::uint32_t>(digit - 'a' + 10);
            else if (digit >= 'A' && digit <= 'F') value += static_cast<std::uint32_t>(digit - 'A' + 10);
            else return std::nullopt;
        }
        return value;
    }

    static void add(std::string& text, std::uint32_t point) {
        const auto put = [&text](std::uint32_t byte) { text.push_back(static_cast<char>(byte)); };
        if (point < 0x80) {
            put(point);
        } else if (point < 0x800) {
            put(0xc0 | (point >> 6));
            put(0x80 | (point & 0x3f));
        } else if (point < 0x10000) {
            put(0xe0 | (point >> 12));
            put(0x80 | ((point >> 6) & 0x3f));
            put(0x80 | (point & 0x3f));
        } else {
            put(0xf0 | (point >> 18));
            put(0x80 | ((point >> 12) & 0x3f));
            put(0x80 | ((point >> 6) & 0x3f));
            put(0x80 | (point & 0x3f));
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace detail

/// What a text says; nothing where it is not JSON.
inline std::optional<Value> read(std::string_view text) { return detail::Reader(text).all(); }

/// A text between quotes.
inline std::string quoted(std::string_view text) {
    std::string found = "\"";
    for (const char letter : text) {
        if (letter == '"' || letter == '\\') {
            found.push_back('\\');
            found.push_back(letter);
        } else if (static_cast<unsigned char>(letter) < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(letter)));
            found += escape;
        } else {
            found.push_back(letter);
        }
    }
    return found + "\"";
}

}  // namespace beatconnect::json
