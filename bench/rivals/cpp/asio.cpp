// SPDX-License-Identifier: MIT
//
// boost::asio::thread_pool with two threads. Its queue has no bound: a producer looks how many are
// out, and yields when they are 1024.
//
// main ROUNDS
#include "tasks.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <future>

struct asio {
    boost::asio::thread_pool pool{bench::threads};
    alignas(128) std::atomic<int> out{0};

    ~asio() { pool.join(); }

    std::uint64_t produce(int, int, const std::atomic<bool> &stop)
    {
        std::uint64_t count = 0;
        while (!stop.load(std::memory_order_relaxed)) {
            while (out.load(std::memory_order_relaxed) >= bench::queue) std::this_thread::yield();
            out.fetch_add(1, std::memory_order_relaxed);
            boost::asio::post(pool, [this] { out.fetch_sub(1, std::memory_order_release); });
            count++;
        }
        while (out.load(std::memory_order_acquire) > 0) std::this_thread::yield();
        return count;
    }

    void round_trip()
    {
        std::promise<void> ended;
        boost::asio::post(pool, [&ended] { ended.set_value(); });
        ended.get_future().get();
    }
};

int main(int, char **arguments)
{
    bench::measure<asio>("boost::asio::thread_pool", false, std::atoi(arguments[1]));
    return 0;
}
