// SPDX-License-Identifier: MIT
/// A transport with TLS over libcurl, for programs without JUCE; link libcurl, and call `curl_global_init` at the start.
#pragma once

#include <curl/curl.h>

#include <memory>

#include "beatconnect/transport.hpp"

namespace beatconnect {

inline Response over_curl(const Request& request) {
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> handle(curl_easy_init(), curl_easy_cleanup);
    if (!handle) return {0, "curl cannot begin"};
    curl_slist* list = curl_slist_append(nullptr, "Content-Type: application/json");
    const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(list, curl_slist_free_all);
    Response response;
    const auto take = +[](char* data, size_t size, size_t count, void* into) -> size_t {
        auto& body = *static_cast<std::string*>(into);
        if (body.size() + size * count > (1u << 20)) return 0;
        body.append(data, size * count);
        return size * count;
    };
    const auto look = +[](void* stop, curl_off_t, curl_off_t, curl_off_t, curl_off_t) -> int {
        return *static_cast<const std::atomic<bool>*>(stop) ? 1 : 0;
    };
    curl_easy_setopt(handle.get(), CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDS, request.body.c_str());
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(handle.get(), CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(handle.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
    curl_easy_setopt(handle.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle.get(), CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, &response.body);
    curl_easy_setopt(handle.get(), CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle.get(), CURLOPT_XFERINFOFUNCTION, look);
    curl_easy_setopt(handle.get(), CURLOPT_XFERINFODATA, const_cast<std::atomic<bool>*>(&request.stop));
    const auto code = curl_easy_perform(handle.get());
    if (code != CURLE_OK) return {0, curl_easy_strerror(code)};
    long status = 0;
    curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
    response.status = static_cast<int>(status);
    return response;
}

}  // namespace beatconnect
