// SPDX-License-Identifier: MIT
//
// tasks.hpp -- thread pools of C++, measured as bench/tasks.c measures those of C: the same scenes,
// rounds of the same length. Prints the lines that bench/foreign.c reads. See docs/bench.md.
#ifndef BENCH_TASKS_HPP
#define BENCH_TASKS_HPP

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace bench {

constexpr int threads = 2, queue = 1024, producers_max = 2, scenes = 3, warm_up = 100;
constexpr std::int64_t round_ns = 100'000'000, rest_ns = 50'000;
enum scene { idle, rested, loaded };

inline std::int64_t now()
{
    using namespace std::chrono;
    return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

inline double quantile(std::vector<double> values, double q)
{
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

// A pool has produce(producer, producers, stop), which submits empty tasks until stop is set, waits
// for all of its own and returns how many they were; and round_trip(), one task and a wait for it.
// What it cannot do gives 0.
template <class Pool> struct measurement {
    Pool pool;
    std::atomic<bool> stop{false};

    double rate(int producers)
    {
        std::atomic<int> ready{0};
        std::atomic<bool> go{false};
        std::vector<std::thread> running;
        std::vector<std::uint64_t> counts(static_cast<std::size_t>(producers));
        std::vector<std::int64_t> ended(counts.size());
        stop = false;
        for (std::size_t i = 0; i < counts.size(); i++) {
            running.emplace_back([&, i] {
                ready++;
                while (!go) std::this_thread::yield();
                counts[i] = pool.produce(static_cast<int>(i), producers, stop);
                ended[i] = now();
            });
        }
        while (ready < producers) std::this_thread::yield();
        std::int64_t started = now();
        go = true;
        std::this_thread::sleep_for(std::chrono::nanoseconds(round_ns));
        stop = true;
        for (auto &thread : running) thread.join();
        double tasks = 0;
        for (auto count : counts) tasks += static_cast<double>(count);
        auto last = *std::max_element(ended.begin(), ended.end());
        return tasks / (static_cast<double>(last - started) / 1e9);
    }

    std::vector<double> round_trips(bool resting)
    {
        std::vector<double> samples;
        samples.reserve(1 << 20);
        for (int i = 0; i < warm_up; i++) pool.round_trip();
        std::int64_t begun = now(), ends = begun + round_ns;
        while (begun < ends && samples.size() < samples.capacity()) {
            pool.round_trip();
            std::int64_t over = now();
            samples.push_back(static_cast<double>(over - begun));
            begun = over;
            while (resting && begun < over + rest_ns) begun = now();
        }
        return samples;
    }

    std::vector<double> in_scene(int scene)
    {
        if (scene != loaded) return round_trips(scene == rested);
        stop = false;
        std::thread busy([&] { pool.produce(0, 1, stop); });
        auto samples = round_trips(false);
        stop = true;
        busy.join();
        return samples;
    }
};

// Medians of the rounds, as one line.
template <class Pool> void measure(const char *title, bool assisted, int rounds)
{
    std::vector<double> rates[producers_max], p50[scenes], p99[scenes];
    measurement<Pool> m;
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < producers_max; i++) rates[i].push_back(m.rate(i + 1));
        for (int i = 0; i < scenes; i++) {
            auto samples = m.in_scene(i);
            p50[i].push_back(quantile(samples, 0.5));
            p99[i].push_back(quantile(samples, 0.99));
        }
    }
    std::printf("tasks|%s|%d|1", title, assisted ? 1 : 0);
    for (auto &values : rates) std::printf("|%.0f", quantile(values, 0.5));
    for (int i = 0; i < scenes; i++) {
        std::printf("|%.1f %.1f", quantile(p50[i], 0.5), quantile(p99[i], 0.5));
    }
    std::puts("");
}

} // namespace bench

#endif
