// SPDX-License-Identifier: MIT
//
// oneTBB: two worker threads. A group of tasks is run and waited for in an arena, where who waits
// helps; an enqueued task is run by the workers alone. Neither has a bounded queue: a producer
// submits 1024 tasks and waits for them, or looks how many are out.
//
// main ROUNDS
#include "tasks.hpp"

#include <condition_variable>
#include <mutex>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

// One slot for each producer, or for who waits, and two for workers.
struct groups {
    tbb::task_arena arena{bench::threads + bench::producers_max, bench::producers_max};

    std::uint64_t produce(int, int, const std::atomic<bool> &stop)
    {
        std::uint64_t count = 0;
        arena.execute([&] {
            tbb::task_group group;
            while (!stop.load(std::memory_order_relaxed)) {
                for (int i = 0; i < bench::queue; i++) group.run([] {});
                group.wait();
                count += bench::queue;
            }
        });
        return count;
    }

    void round_trip()
    {
        arena.execute([] {
            tbb::task_group group;
            group.run([] {});
            group.wait();
        });
    }
};

// A counter on a line of its own says what is out.
struct queued {
    tbb::task_arena arena{bench::threads, 0};
    alignas(128) std::atomic<int> out{0};
    std::mutex lock;
    std::condition_variable ended;
    bool probed = false;

    std::uint64_t produce(int, int, const std::atomic<bool> &stop)
    {
        std::uint64_t count = 0;
        while (!stop.load(std::memory_order_relaxed)) {
            while (out.load(std::memory_order_relaxed) >= bench::queue) std::this_thread::yield();
            out.fetch_add(1, std::memory_order_relaxed);
            arena.enqueue([this] { out.fetch_sub(1, std::memory_order_release); });
            count++;
        }
        while (out.load(std::memory_order_acquire) > 0) std::this_thread::yield();
        return count;
    }

    void round_trip()
    {
        probed = false;
        arena.enqueue([this] {
            std::lock_guard<std::mutex> held(lock);
            probed = true;
            ended.notify_one();
        });
        std::unique_lock<std::mutex> held(lock);
        ended.wait(held, [this] { return probed; });
    }
};

int main(int, char **arguments)
{
    int rounds = std::atoi(arguments[1]);
    // The calling thread counts as one: two workers beside it.
    tbb::global_control limit(tbb::global_control::max_allowed_parallelism, bench::threads + 1);
    bench::measure<groups>("oneTBB task_group, 1024 at a time", true, rounds);
    bench::measure<queued>("oneTBB task_arena::enqueue", false, rounds);
    return 0;
}
