// SPDX-License-Identifier: MIT

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Java's ThreadPoolExecutor, two threads behind an ArrayBlockingQueue of 1024, measured as
 * bench/tasks.c measures thread pools of C, after a warm-up. When the queue is full the submitter
 * waits for room. Prints what bench/foreign.c reads. Needs nothing but Java. Tasks ROUNDS
 */
final class Tasks {
    private static final int THREADS = 2;
    private static final int QUEUE = 1024;
    private static final int PRODUCERS = 2;
    private static final int SCENES = 3; // idle, rested, loaded
    private static final int LOADED = 2;
    private static final int WARM_UP = 3; // rounds
    private static final long ROUND = 100_000_000;
    private static final long REST = 50_000;
    private static final Runnable NOTHING = () -> { };

    private static final ThreadPoolExecutor POOL = new ThreadPoolExecutor(THREADS, THREADS, 0,
            TimeUnit.SECONDS, new ArrayBlockingQueue<>(QUEUE), Tasks::waitForRoom);
    private static volatile boolean stop;

    private static void waitForRoom(Runnable task, ThreadPoolExecutor pool) {
        try {
            pool.getQueue().put(task);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static long produce() {
        long count = 0;
        for (; !stop; count++) POOL.execute(NOTHING);
        return count;
    }

    /** Until the pool has nothing to do. */
    private static void drain() {
        while (POOL.getActiveCount() > 0 || !POOL.getQueue().isEmpty()) Thread.yield();
    }

    private static double rate(int producers) throws InterruptedException {
        long[] counts = new long[producers];
        Thread[] running = new Thread[producers];
        stop = false;
        long started = System.nanoTime();
        for (int i = 0; i < producers; i++) {
            int at = i;
            running[i] = new Thread(() -> counts[at] = produce());
            running[i].start();
        }
        TimeUnit.NANOSECONDS.sleep(ROUND);
        stop = true;
        for (Thread thread : running) thread.join();
        drain();
        return Arrays.stream(counts).sum() / ((System.nanoTime() - started) / 1e9);
    }

    private static double[] roundTrips(boolean rested) throws Exception {
        double[] samples = new double[1 << 20];
        int count = 0;
        long begun = System.nanoTime();
        long ends = begun + ROUND;
        while (begun < ends && count < samples.length) {
            POOL.submit(NOTHING).get();
            long over = System.nanoTime();
            samples[count++] = over - begun;
            begun = over;
            while (rested && begun < over + REST) begun = System.nanoTime();
        }
        return Arrays.copyOf(samples, count);
    }

    private static double[] inScene(int scene) throws Exception {
        if (scene != LOADED) return roundTrips(scene == 1);
        stop = false;
        Thread busy = new Thread(Tasks::produce);
        busy.start();
        double[] samples = roundTrips(false);
        stop = true;
        busy.join();
        drain();
        return samples;
    }

    private static double quantile(double[] values, double q) {
        if (values.length == 0) return 0;
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[(int) (q * (sorted.length - 1))];
    }

    private static double median(List<Double> values) {
        return quantile(values.stream().mapToDouble(Double::doubleValue).toArray(), 0.5);
    }

    public static void main(String[] arguments) throws Exception {
        int rounds = Integer.parseInt(arguments[0]);
        List<List<Double>> figures = new ArrayList<>();
        for (int i = 0; i < PRODUCERS + 2 * SCENES; i++) figures.add(new ArrayList<>());
        for (int r = -WARM_UP; r < rounds; r++) {
            int at = 0;
            for (int i = 1; i <= PRODUCERS; i++) {
                double each = rate(i);
                if (r >= 0) figures.get(at++).add(each);
            }
            for (int i = 0; i < SCENES; i++) {
                double[] samples = inScene(i);
                if (r < 0) continue;
                figures.get(at++).add(quantile(samples, 0.5));
                figures.get(at++).add(quantile(samples, 0.99));
            }
        }
        StringBuilder line = new StringBuilder("tasks|Java, ThreadPoolExecutor|0|0");
        for (int i = 0; i < PRODUCERS; i++) {
            line.append(String.format(Locale.ROOT, "|%.0f", median(figures.get(i))));
        }
        for (int i = PRODUCERS; i < figures.size(); i += 2) {
            line.append(String.format(Locale.ROOT, "|%.1f %.1f", median(figures.get(i)),
                    median(figures.get(i + 1))));
        }
        System.out.println(line);
        POOL.shutdown();
    }
}
