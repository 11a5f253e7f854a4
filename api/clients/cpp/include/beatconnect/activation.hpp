// SPDX-License-Identifier: MIT
/// Activation of a plug-in: C++17, headers only.
///
/// An `Activation` may be made in a plug-in's constructor: it starts one thread and waits for nothing. Neither the
/// file beside it nor the network is touched on the thread that makes it, and `status()` and `allowed()` read one
/// atomic number, so that the audio thread may ask them. All answers of the service count only with its signature
/// (Ed25519) over the nonce of this very question; what is unsigned, replayed or about something else counts as if the
/// service had not been reached. Then the last signed answer holds for `grace` (7 days). Explicit answers always win.
///
///     beatconnect::Config config;
///     config.api_url = "https://plugins.example.com";
///     config.project_id = "...";                       // the project of this plug-in
///     config.public_key = "...";                       // GET /functions/v1/plugin-activation/public-key
///     config.state_file = folder / "activation.json";
///     config.transport = ...;                          // something with TLS, see transport.hpp
///     beatconnect::Activation activation(config);
///     activation.activate(code);                       // a future; or ask status() from a timer
///     if (!activation.allowed()) buffer.clear();
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "beatconnect/crypto.hpp"
#include "beatconnect/json.hpp"
#include "beatconnect/transport.hpp"

#if defined(__APPLE__)
#include <unistd.h>
#include <uuid/uuid.h>
#endif

namespace beatconnect {

enum class Status {
    looking,              ///< Nothing is known yet: the file has not been read. Lasts some milliseconds.
    not_activated,        ///< No code, or one that this machine is not activated for.
    licensed,             ///< The service has said so within `revalidate`, or a machine file does.
    grace,                ///< It has said so, and has not been reached since; good for `grace` in all.
    grace_over,           ///< It has not been reached for longer than that.
    clock_turned_back,    ///< It is earlier than it was: what is kept proves nothing until the service is reached.
    code_not_found,       ///< There is no such code for this plug-in.
    revoked,              ///< The license was revoked.
    expired,              ///< The license, or the machine file, is over.
    deactivated,          ///< This machine was released.
    version_not_covered,  ///< This version was released after the license's updates ended.
    not_entitled,         ///< The license lacks an entitlement that was asked for.
};

/// What came of a question. `reached` is false when no signed answer came; then `message` says what did.
struct Result {
    Status status = Status::looking;
    bool reached = false;
    bool ok = false;
    std::string verdict;  ///< In the service's words: valid, max_activations_reached, code_revoked ...
    std::string message;
    std::int64_t activations = 0;
    std::int64_t max_activations = 0;
};

using Seconds = std::chrono::seconds;

struct Config {
    std::string api_url;
    std::string project_id;
    std::string public_key;  ///< Base64 of 32 bytes. Compiled in: a key that is read from a file proves nothing.
    std::string machine_id;  ///< Empty: `default_machine_id()`.
    std::string machine_name;
    std::string released_at;  ///< When this version was released, RFC 3339; empty: not asked.
    std::filesystem::path state_file;
    Transport transport = over_sockets;
    std::function<std::int64_t()> now;  ///< Seconds since 1970; empty: the system's clock.
    Seconds revalidate{86'400};
    Seconds grace{7 * 86'400};
    /// How far clocks may differ before it counts as turned back.
    Seconds clock_tolerance{86'400};
    /// How long after its beginning the service is asked for the first time, so that a scan never reaches the network.
    std::chrono::milliseconds first_question{3'000};
    std::chrono::milliseconds timeout{10'000};
};

/// An id of this machine that survives updates of its system, as SHA-256; empty where there is none.
inline std::string default_machine_id() {
    std::string id;
#if defined(__APPLE__)
    uuid_t bytes;
    const timespec wait{1, 0};
    if (gethostuuid(bytes, &wait) == 0) {
        uuid_string_t text;
        uuid_unparse(bytes, text);
        id = text;
    }
#elif defined(_WIN32)
    char text[128];
    DWORD size = sizeof text;
    if (RegGetValueA(HKEY_LOCAL_MACHINE, "SOFTWARE\\Microsoft\\Cryptography", "MachineGuid",
                     RRF_RT_REG_SZ | RRF_SUBKEY_WOW6464KEY, nullptr, text, &size) == ERROR_SUCCESS)
        id = text;
#else
    for (const char* place : {"/etc/machine-id", "/var/lib/dbus/machine-id"}) {
        std::ifstream file(place);
        if (file >> id) break;
    }
#endif
    return id.empty() ? id : crypto::hex(crypto::sha256("beatconnect/" + id));
}

namespace detail {

/// Seconds since 1970 of `2026-01-15T10:30:00Z`; nothing where it is not of this form.
inline std::optional<std::int64_t> moment(const std::string& text) {
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, length = 0;
    if (std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2dZ%n", &year, &month, &day, &hour, &minute, &second, &length) != 6 ||
        length != 20 || text.size() != 20 || month < 1 || month > 12 || day < 1 || day > 31)
        return std::nullopt;
    // Days since 1970 in the proleptic Gregorian calendar, with years that begin in March.
    const std::int64_t years = month > 2 ? year : year - 1;
    const std::int64_t era = years / 400, of_era = years - era * 400;
    const std::int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    const std::int64_t days = era * 146'097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719'468;
    return days * 86'400 + hour * 3'600 + minute * 60 + second;
}

/// The one form of a code: a UUID in small letters, a legacy code in capitals.
inline std::string normal_code(std::string_view typed) {
    std::string code;
    for (const char letter : typed)
        if (static_cast<unsigned char>(letter) > ' ') code.push_back(letter);
    const bool legacy = code.size() == 19;
    for (char& letter : code) {
        if (!legacy && letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
        if (legacy && letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
    }
    return code;
}

inline std::string new_nonce() {
    std::random_device source;
    std::string nonce;
    for (int i = 0; i < 8; ++i) {
        char piece[9];
        std::snprintf(piece, sizeof piece, "%08x", static_cast<unsigned>(source()));
        nonce += piece;
    }
    return nonce;
}

/// What a signature vouches for: `enc` decoded, once `sig` is right for this purpose.
inline std::optional<json::Value> opened(const std::string& key, const std::string& purpose, const json::Value& signed_) {
    if (signed_["alg"].text() != "base64+ed25519") return std::nullopt;
    const auto enc = signed_["enc"].text();
    const auto signature = crypto::from_base64(signed_["sig"].text());
    const auto payload = crypto::from_base64(enc);
    if (!signature || !payload || !crypto::verify(key, purpose + "/" + enc, *signature)) return std::nullopt;
    return json::read(*payload);
}

/// What is between the two lines of a license or machine file.
inline std::optional<json::Value> unwrapped(const std::string& text, const std::string& what) {
    const std::string begin = "-----BEGIN " + what + " FILE-----", end = "-----END " + what + " FILE-----";
    const auto first = text.find(begin), last = text.find(end);
    if (first == std::string::npos || last == std::string::npos || last < first) return std::nullopt;
    std::string inner;
    for (const char letter : text.substr(first + begin.size(), last - first - begin.size()))
        if (letter != '\n' && letter != '\r') inner.push_back(letter);
    const auto outer = crypto::from_base64(inner);
    return outer ? json::read(*outer) : std::nullopt;
}

inline Status status_of(const std::string& verdict) {
    static const std::map<std::string, Status> known{
        {"valid", Status::licensed},
        {"code_not_found", Status::code_not_found},
        {"invalid_code", Status::code_not_found},
        {"code_revoked", Status::revoked},
        {"expired", Status::expired},
        {"code_expired", Status::expired},
        {"deactivated", Status::deactivated},
        {"not_activated", Status::not_activated},
        {"version_not_covered", Status::version_not_covered},
        {"entitlement_missing", Status::not_entitled},
    };
    const auto found = known.find(verdict);
    return found == known.end() ? Status::looking : found->second;
}

}  // namespace detail

class Activation {
  public:
    explicit Activation(Config config) : config_(std::move(config)) {
        if (!config_.now)
            config_.now = [] {
                return static_cast<std::int64_t>(
                    std::chrono::duration_cast<Seconds>(std::chrono::system_clock::now().time_since_epoch()).count());
            };
        worker_ = std::thread([this] { work(); });
    }

    Activation(const Activation&) = delete;
    Activation& operator=(const Activation&) = delete;

    /// Gives up what is under way and waits for the thread: some 20 ms with the sockets of transport.hpp.
    ~Activation() {
        {
            const std::lock_guard lock(mutex_);
            stop_ = true;
        }
        wake_.notify_all();
        worker_.join();
    }

    /// How it stands; never waits, so any thread may ask.
    Status status() const noexcept { return status_.load(std::memory_order_relaxed); }

    /// Whether the plug-in may make sound; never waits, so the audio thread may ask.
    bool allowed() const noexcept {
        const auto now = status();
        return now == Status::licensed || now == Status::grace || now == Status::looking;
    }

    /// Activate a code on this machine.
    std::future<Result> activate(std::string code) {
        return later([this, code = detail::normal_code(code)] { return ask("activate", code); });
    }

    /// Ask whether the code that is kept is still good; by itself that is done every `revalidate`.
    std::future<Result> validate() {
        return later([this] { return ask("validate", code_); });
    }

    /// Give the seat of this machine back and forget the code.
    std::future<Result> deactivate() {
        return later([this] { return leave(); });
    }

    /// Take a machine file, from POST /functions/v1/plugin-activation/offline, for a machine without a network.
    std::future<Result> use_machine_file(std::string text) {
        return later([this, text = std::move(text)] { return take(text); });
    }

  private:
    std::future<Result> later(std::function<Result()> question) {
        auto task = std::make_shared<std::packaged_task<Result()>>(std::move(question));
        auto result = task->get_future();
        {
            const std::lock_guard lock(mutex_);
            tasks_.emplace_back([task] { (*task)(); });
        }
        wake_.notify_all();
        return result;
    }

    // -- the thread; everything from here on happens there

    void work() {
        using Clock = std::chrono::steady_clock;
        const auto key = crypto::from_base64(config_.public_key);
        key_ = key ? *key : std::string();
        key_id_ = crypto::hex(crypto::sha256(key_)).substr(0, 16);
        if (config_.machine_id.empty()) config_.machine_id = default_machine_id();
        load();
        judge();
        auto next = Clock::now() + config_.first_question;
        std::unique_lock lock(mutex_);
        while (!stop_) {
            if (!tasks_.empty()) {
                const auto task = std::move(tasks_.front());
                tasks_.pop_front();
                lock.unlock();
                task();
                lock.lock();
                continue;
            }
            const auto tick = (std::min)(next, Clock::now() + std::chrono::minutes(1));
            if (wake_.wait_until(lock, tick, [this] { return stop_ || !tasks_.empty(); })) continue;
            lock.unlock();
            judge();
            if (Clock::now() >= next) {
                const bool due = !code_.empty() && machine_file_.empty() &&
                                 (status() != Status::licensed || now() - issued_ >= config_.revalidate.count());
                if (due) ask("validate", code_);
                // Who was not reached is asked again in five minutes, and nobody more often.
                next = Clock::now() + std::chrono::minutes(5);
            }
            lock.lock();
        }
    }

    Result told(bool reached, bool ok, std::string verdict, std::string message) const {
        Result result;
        result.status = status();
        result.reached = reached;
        result.ok = ok;
        result.verdict = std::move(verdict);
        result.message = std::move(message);
        return result;
    }

    Result ask(const std::string& what, const std::string& code) {
        judge();
        if (code.empty()) return told(false, false, "", "There is no code yet.");
        const auto nonce = detail::new_nonce();
        std::string body = "{\"code\":" + json::quoted(code) + ",\"machine_id\":" + json::quoted(config_.machine_id) +
                           ",\"plugin_id\":" + json::quoted(config_.project_id) + ",\"nonce\":" + json::quoted(nonce) +
                           ",\"key_id\":" + json::quoted(key_id_);
        if (!config_.released_at.empty()) body += ",\"released_at\":" + json::quoted(config_.released_at);
        if (what == "activate" && !config_.machine_name.empty())
            body += ",\"machine_name\":" + json::quoted(config_.machine_name);
        const auto answer = post(what, body + "}");
        const auto said = answer.status ? json::read(answer.body) : std::nullopt;
        const auto proof = said ? proven((*said)["signed"], code, nonce) : std::nullopt;
        if (!proof) {
            // As if nobody had answered: what is kept decides.
            return told(false, false, "", answer.status ? "The answer is not signed for this question." : answer.body);
        }
        const auto verdict = (*proof)["verdict"].text();
        const bool ok = verdict == "valid";
        // What is no verdict on the license, such as too many machines, leaves what is known of it as it is.
        if (detail::status_of(verdict) != Status::looking && (ok || code == code_)) {
            code_ = code;
            signed_ = (*said)["signed"];
            if (ok) machine_file_.clear();
            // The service's clock is right. Where ours is not, it counts as set right until this object goes.
            const auto issued = detail::moment((*proof)["issued"].text()).value_or(config_.now());
            skew_ = std::abs(issued - config_.now()) > config_.clock_tolerance.count() ? issued - config_.now() : 0;
            seen_ = 0;
            judge();
            save();
        }
        auto result = told(true, ok, verdict, (*said)["message"].text());
        result.activations = (*said)["activations"].number();
        result.max_activations = (*said)["max_activations"].number();
        return result;
    }

    Result leave() {
        if (code_.empty()) return told(false, false, "", "There is no code yet.");
        const auto answer = post("deactivate", "{\"code\":" + json::quoted(code_) +
                                                   ",\"machine_id\":" + json::quoted(config_.machine_id) +
                                                   ",\"plugin_id\":" + json::quoted(config_.project_id) + "}");
        if (!answer.status) return told(false, false, "", answer.body);
        const auto said = json::read(answer.body);
        if (!said || !(*said)["success"].is_true()) {
            return told(true, false, said ? (*said)["error"].text() : "", said ? (*said)["message"].text() : "");
        }
        code_.clear();
        signed_ = json::Value{};
        machine_file_.clear();
        issued_ = 0;
        judge();
        save();
        return told(true, true, "", (*said)["message"].text());
    }

    Result take(const std::string& text) {
        const auto before = std::exchange(machine_file_, text);
        judge();
        if (status() == Status::licensed) {
            save();
            return told(false, true, "valid", "");
        }
        const auto why = status();
        machine_file_ = before;
        judge();
        auto result = told(false, false, "", "This file does not license this machine.");
        result.status = why;
        return result;
    }

    Response post(const std::string& what, const std::string& body) {
        const auto url = config_.api_url + "/functions/v1/plugin-activation/" + what;
        try {
            return config_.transport(Request{url, body, config_.timeout, stop_});
        } catch (const std::exception& problem) {
            return {0, problem.what()};
        }
    }

    std::int64_t now() const { return config_.now() + skew_; }

    /// What a signed answer says of this code on this machine; `nonce` is empty for one that was looked at before.
    std::optional<json::Value> proven(const json::Value& proof, const std::string& code, const std::string& nonce) const {
        auto said = detail::opened(key_, "response", proof);
        if (!said || (!nonce.empty() && (*said)["nonce"].text() != nonce) ||
            (*said)["project_id"].text() != config_.project_id ||
            (*said)["code"].text() != crypto::hex(crypto::sha256(code)) ||
            (*said)["machine"].text() != crypto::hex(crypto::sha256(config_.machine_id)))
            return std::nullopt;
        return said;
    }

    /// Say how it stands by what is kept and by the clock.
    void judge() {
        const auto now = this->now();
        const auto tolerance = config_.clock_tolerance.count();
        if (now > seen_ + 3'600) {
            seen_ = now;
            if (!code_.empty() || !machine_file_.empty()) save();
        }
        if (now + tolerance < seen_) {
            status_ = code_.empty() && machine_file_.empty() ? Status::not_activated : Status::clock_turned_back;
            return;
        }
        status_ = machine_file_.empty() ? by_answer(now, tolerance) : by_file(now, tolerance);
    }

    Status by_file(std::int64_t now, std::int64_t tolerance) const {
        const auto outer = detail::unwrapped(machine_file_, "MACHINE");
        const auto said = outer ? detail::opened(key_, "machine", *outer) : std::nullopt;
        if (!said) return Status::not_activated;
        const auto& about = (*said)["data"]["attributes"];
        const auto issued = detail::moment((*said)["meta"]["issued"].text());
        const auto expiry = detail::moment((*said)["meta"]["expiry"].text());
        if (!issued || !expiry || about["fingerprint"].text() != config_.machine_id ||
            about["project_id"].text() != config_.project_id)
            return Status::not_activated;
        if (now + tolerance < *issued) return Status::clock_turned_back;
        return now < *expiry ? Status::licensed : Status::expired;
    }

    Status by_answer(std::int64_t now, std::int64_t tolerance) {
        issued_ = 0;
        if (code_.empty()) return Status::not_activated;
        const auto said = proven(signed_, code_, "");
        const auto issued = said ? detail::moment((*said)["issued"].text()) : std::nullopt;
        if (!issued) return Status::not_activated;
        issued_ = *issued;
        const auto verdict = detail::status_of((*said)["verdict"].text());
        if (verdict != Status::licensed) return verdict == Status::looking ? Status::not_activated : verdict;
        if (now + tolerance < *issued) return Status::clock_turned_back;
        const auto age = now - *issued;
        if (age > config_.grace.count()) return Status::grace_over;
        return age > config_.revalidate.count() ? Status::grace : Status::licensed;
    }

    void load() {
        std::ifstream file(config_.state_file, std::ios::binary);
        const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
        const auto kept = json::read(text);
        if (!kept) return;
        code_ = (*kept)["code"].text();
        signed_ = (*kept)["signed"];
        machine_file_ = (*kept)["machine_file"].text();
        seen_ = (*kept)["seen"].number();
    }

    /// Keep it in a file that is replaced whole, so that a crash leaves the old one or the new one.
    void save() const {
        if (config_.state_file.empty()) return;
        std::error_code problem;
        if (config_.state_file.has_parent_path())
            std::filesystem::create_directories(config_.state_file.parent_path(), problem);
        auto beside = config_.state_file;
        beside += "." + detail::new_nonce().substr(0, 8);
        {
            std::ofstream file(beside, std::ios::binary);
            file << "{\"code\":" << json::quoted(code_) << ",\"signed\":{\"alg\":" << json::quoted(signed_["alg"].text())
                 << ",\"enc\":" << json::quoted(signed_["enc"].text()) << ",\"sig\":" << json::quoted(signed_["sig"].text())
                 << "},\"machine_file\":" << json::quoted(machine_file_) << ",\"seen\":" << seen_ << "}\n";
            if (!file.flush()) return;
        }
        std::filesystem::rename(beside, config_.state_file, problem);
        if (problem) std::filesystem::remove(beside, problem);
    }

    Config config_;
    std::string key_, key_id_;
    std::string code_, machine_file_;
    json::Value signed_;
    std::int64_t seen_ = 0, issued_ = 0, skew_ = 0;
    std::atomic<Status> status_{Status::looking};

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> tasks_;
    std::atomic<bool> stop_{false};
    std::thread worker_;
};

inline const char* name_of(Status status) {
    static constexpr const char* names[] = {
        "looking", "not_activated", "licensed", "grace", "grace_over", "clock_turned_back", "code_not_found",
        "revoked", "expired", "deactivated", "version_not_covered", "not_entitled",
    };
    return names[static_cast<int>(status)];
}

}  // namespace beatconnect
