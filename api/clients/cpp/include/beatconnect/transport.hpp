// SPDX-License-Identifier: MIT
/// How the client reaches the service. Plain sockets are here, for http:// on a machine of your own and for tests;
/// in a plug-in hand in something with TLS: JUCE's URL (examples/juce), or libcurl (curl.hpp).
#pragma once

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <string>

#ifdef _WIN32
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <cerrno>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

namespace beatconnect {

/// A POST of JSON. Whoever carries it gives up after `timeout`, and soon once `stop` is true.
struct Request {
    std::string url;
    std::string body;
    std::chrono::milliseconds timeout;
    const std::atomic<bool>& stop;
};

/// What came back; a `status` of 0 means that the service was not reached, and `body` says why.
struct Response {
    int status = 0;
    std::string body;
};

using Transport = std::function<Response(const Request&)>;

namespace detail {

#ifdef _WIN32
using Handle = SOCKET;
inline void close_handle(Handle handle) { closesocket(handle); }
inline bool is_open(Handle handle) { return handle != INVALID_SOCKET; }
inline bool would_wait() { return WSAGetLastError() == WSAEWOULDBLOCK || WSAGetLastError() == WSAEINPROGRESS; }
inline int look(pollfd* one, int milliseconds) { return WSAPoll(one, 1, milliseconds); }
inline void never_wait(Handle handle) {
    u_long on = 1;
    ioctlsocket(handle, FIONBIO, &on);
}
struct Sockets {
    Sockets() {
        WSADATA data;
        WSAStartup(MAKEWORD(2, 2), &data);
    }
    ~Sockets() { WSACleanup(); }
};
#else
using Handle = int;
inline void close_handle(Handle handle) { ::close(handle); }
inline bool is_open(Handle handle) { return handle >= 0; }
inline bool would_wait() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINPROGRESS || errno == EINTR; }
inline int look(pollfd* one, int milliseconds) { return ::poll(one, 1, milliseconds); }
inline void never_wait(Handle handle) { ::fcntl(handle, F_SETFL, ::fcntl(handle, F_GETFL, 0) | O_NONBLOCK); }
struct Sockets {};
#endif

/// One connection that never waits for longer than it is told to.
class Connection {
  public:
    explicit Connection(const Request& request)
        : stop_(request.stop), ends_(std::chrono::steady_clock::now() + request.timeout) {}
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() {
        if (is_open(handle_)) close_handle(handle_);
    }

    bool open(const std::string& host, const std::string& port) {
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* found = nullptr;
        if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return false;
        for (addrinfo* each = found; each != nullptr; each = each->ai_next) {
            handle_ = ::socket(each->ai_family, each->ai_socktype, each->ai_protocol);
            if (!is_open(handle_)) continue;
            never_wait(handle_);
#if defined(SO_NOSIGPIPE)
            // macOS: whoever writes to somebody who has gone would be killed, and the host of the plug-in with it.
            const int on = 1;
            ::setsockopt(handle_, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
            if (::connect(handle_, each->ai_addr, static_cast<socklen_t>(each->ai_addrlen)) == 0 ||
                (would_wait() && wait(POLLOUT) && connected()))
                break;
            close_handle(handle_);
            handle_ = static_cast<Handle>(-1);
        }
        ::freeaddrinfo(found);
        return is_open(handle_);
    }

    bool send(const std::string& data) {
        std::size_t sent = 0;
        while (sent < data.size()) {
            int flags = 0;
#ifdef MSG_NOSIGNAL
            flags = MSG_NOSIGNAL;
#endif
            const auto count = ::send(handle_, data.data() + sent, static_cast<int>(data.size() - sent), flags);
            if (count > 0) sent += static_cast<std::size_t>(count);
            else if (!would_wait() || !wait(POLLOUT)) return false;
        }
        return true;
    }

    bool receive(std::string& data, std::size_t most) {
        char piece[4096];
        while (data.size() <= most) {
            const auto count = ::recv(handle_, piece, sizeof piece, 0);
            if (count == 0) return true;
            if (count > 0) data.append(piece, static_cast<std::size_t>(count));
            else if (!would_wait() || !wait(POLLIN)) return false;
        }
        return false;
    }

  private:
    bool wait(short what) {
        while (!stop_ && std::chrono::steady_clock::now() < ends_) {
            pollfd one{};
            one.fd = handle_;
            one.events = what;
            if (look(&one, 20) > 0) return true;
        }
        return false;
    }

    bool connected() {
        int problem = 0;
        socklen_t size = sizeof problem;
        return ::getsockopt(handle_, SOL_SOCKET, SO_ERROR, reinterpret_cast<char*>(&problem), &size) == 0 && !problem;
    }

    Sockets sockets_;
    const std::atomic<bool>& stop_;
    std::chrono::steady_clock::time_point ends_;
    Handle handle_ = static_cast<Handle>(-1);
};

}  // namespace detail

/// Plain HTTP over sockets.
inline Response over_sockets(const Request& request) {
    static constexpr std::size_t most = 1 << 20;
    const std::string scheme = "http://";
    if (request.url.compare(0, scheme.size(), scheme) != 0) return {0, "this transport speaks http:// only"};
    const auto slash = request.url.find('/', scheme.size());
    const std::string where = request.url.substr(scheme.size(), slash - scheme.size());
    const std::string path = slash == std::string::npos ? "/" : request.url.substr(slash);
    const auto colon = where.rfind(':');
    const bool has_port = colon != std::string::npos && where.find(']', colon) == std::string::npos;
    std::string host = has_port ? where.substr(0, colon) : where;
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
    detail::Connection connection(request);
    if (!connection.open(host, has_port ? where.substr(colon + 1) : "80")) return {0, "nobody answers"};
    // HTTP/1.0 has no chunks: what comes until the end is the body.
    const std::string head = "POST " + path + " HTTP/1.0\r\nHost: " + where + "\r\nContent-Type: application/json\r\n" +
                             "Accept: application/json\r\nContent-Length: " + std::to_string(request.body.size()) +
                             "\r\nConnection: close\r\n\r\n";
    std::string answer;
    if (!connection.send(head + request.body) || !connection.receive(answer, most)) return {0, "the answer broke off"};
    const auto end = answer.find("\r\n\r\n");
    if (end == std::string::npos || answer.compare(0, 7, "HTTP/1.") != 0) return {0, "that is no answer"};
    return {std::atoi(answer.c_str() + 9), answer.substr(end + 4)};
}

}  // namespace beatconnect
