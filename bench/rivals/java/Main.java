// SPDX-License-Identifier: MIT

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;

/**
 * HikariCP, measured as bench/bench.c and bench/handoff.c measure the pools of C: the same numbers
 * of threads, the same rounds, the same loop, after a warm-up that lets the compiler finish.
 * Prints what bench/foreign.c reads. Main ROUNDS MILLISECONDS
 */
final class Main {
    private static final String TITLE = "Java, HikariCP getConnection + close";
    private static final int RESOURCES = 10;
    private static final int[] COLUMNS = {1, 2, 4, 16, 64};
    private static final int[][] CROWDS = {{4, 2}, {16, 4}};
    private static final long HOLD = 20_000;
    private static final long CROWD_TIME = 200_000_000;
    private static final long WARM_UP = 1_000_000_000;

    /** All connections made and idle. */
    private static HikariDataSource open(int count) throws SQLException {
        HikariConfig config = new HikariConfig();
        config.setDataSource(new FakeSource());
        config.setMaximumPoolSize(count);
        config.setMinimumIdle(count);
        HikariDataSource pool = new HikariDataSource(config);
        List<Connection> all = new ArrayList<>();
        for (int i = 0; i < count; i++) all.add(pool.getConnection());
        for (Connection connection : all) connection.close();
        return pool;
    }

    private static void pairs(HikariDataSource pool, long count) {
        try {
            for (long i = 0; i < count; i++) pool.getConnection().close();
        } catch (SQLException e) {
            throw new IllegalStateException(e);
        }
    }

    private static double quantile(List<Double> values, double q) {
        if (values.isEmpty()) return 0;
        double[] sorted = values.stream().mapToDouble(Double::doubleValue).toArray();
        Arrays.sort(sorted);
        return sorted[(int) (q * (sorted.length - 1))];
    }

    /** Runs work in so many threads at once; ns from the moment that they may to the last end. */
    private static long together(int threads, Runnable work) throws InterruptedException {
        CountDownLatch ready = new CountDownLatch(threads);
        CountDownLatch start = new CountDownLatch(1);
        long[] ended = new long[threads];
        Thread[] running = new Thread[threads];
        for (int i = 0; i < threads; i++) {
            int at = i;
            running[i] = new Thread(() -> {
                ready.countDown();
                try {
                    start.await();
                } catch (InterruptedException e) {
                    return;
                }
                work.run();
                ended[at] = System.nanoTime();
            });
            running[i].start();
        }
        ready.await();
        long started = System.nanoTime();
        start.countDown();
        for (Thread thread : running) thread.join();
        return Arrays.stream(ended).max().getAsLong() - started;
    }

    /** ns of one pair over all threads, and at one thread that of the quickest of many pieces. */
    private static double[] round(HikariDataSource pool, int threads, long count)
            throws InterruptedException {
        double[] least = {Double.MAX_VALUE};
        long elapsed = together(threads, () -> {
            if (threads > 1) {
                pairs(pool, count);
                return;
            }
            long piece = count / 100 + 1;
            for (long done = 0; done + piece <= count; done += piece) {
                long began = System.nanoTime();
                pairs(pool, piece);
                double each = (double) (System.nanoTime() - began) / piece;
                if (each < least[0]) least[0] = each;
            }
        });
        double each = (double) elapsed / threads / count;
        return new double[] {each, threads > 1 ? each : Math.min(each, least[0])};
    }

    private static long calibrate(HikariDataSource pool, int threads, double length)
            throws InterruptedException {
        for (long count = 256; ; count *= 4) {
            double elapsed = round(pool, threads, count)[0] * count * threads;
            if (elapsed >= length / 8) return (long) (count * length / elapsed) + 1;
        }
    }

    private static void measurePairs(int rounds, double length) throws Exception {
        HikariDataSource pool = open(RESOURCES);
        for (int threads : COLUMNS) {
            long until = System.nanoTime() + WARM_UP;
            while (System.nanoTime() < until) round(pool, threads, 100_000 / threads);
        }
        long[] loops = new long[COLUMNS.length];
        double[] least = new double[COLUMNS.length];
        List<List<Double>> samples = new ArrayList<>();
        for (int c = 0; c < COLUMNS.length; c++) {
            loops[c] = calibrate(pool, COLUMNS[c], COLUMNS[c] > 16 ? length * 4 : length);
            least[c] = Double.MAX_VALUE;
            samples.add(new ArrayList<>());
        }
        for (int r = 0; r < rounds; r++) {
            for (int c = 0; c < COLUMNS.length; c++) {
                double[] figures = round(pool, COLUMNS[c], loops[c]);
                samples.get(c).add(figures[0]);
                least[c] = Math.min(least[c], figures[1]);
            }
        }
        StringBuilder line = new StringBuilder("pairs|" + TITLE);
        for (int c = 0; c < COLUMNS.length; c++) {
            line.append(String.format(Locale.ROOT, "|%.2f %.2f", quantile(samples.get(c), 0.5),
                    least[c]));
        }
        System.out.println(line);
        pool.close();
    }

    /** p50, p99, wait p99, longest wait, share handed over, pairs a second: bench/handoff.c. */
    private static double[] crowd(HikariDataSource pool, int threads) throws InterruptedException {
        AtomicLong pairs = new AtomicLong();
        List<Double> handed = new ArrayList<>();
        List<Double> waited = new ArrayList<>();
        long ends = System.nanoTime() + CROWD_TIME;
        long elapsed = together(threads, () -> {
            double[] myHanded = new double[1 << 14];
            double[] myWaited = new double[1 << 14];
            int samples = 0;
            long mine = 0;
            try {
                for (long begun; (begun = System.nanoTime()) < ends; mine++) {
                    Connection connection = pool.getConnection();
                    FakeConnection resource = connection.unwrap(FakeConnection.class);
                    long got = System.nanoTime();
                    if (resource.releasedAt > begun && samples < myHanded.length) {
                        myHanded[samples] = got - resource.releasedAt;
                        myWaited[samples++] = got - begun;
                    }
                    while (System.nanoTime() < got + HOLD) continue;
                    resource.releasedAt = System.nanoTime();
                    connection.close();
                }
            } catch (SQLException e) {
                throw new IllegalStateException(e);
            }
            pairs.addAndGet(mine);
            synchronized (handed) {
                for (int i = 0; i < samples; i++) {
                    handed.add(myHanded[i]);
                    waited.add(myWaited[i]);
                }
            }
        });
        return new double[] {quantile(handed, 0.5), quantile(handed, 0.99), quantile(waited, 0.99),
            quantile(waited, 1), (double) handed.size() / pairs.get(),
            pairs.get() / (elapsed / 1e9)};
    }

    private static void measureCrowds(int rounds) throws Exception {
        for (int[] c : CROWDS) {
            List<List<Double>> figures = new ArrayList<>();
            for (int r = -2; r < rounds; r++) { // two to warm up
                try (HikariDataSource pool = open(c[1])) {
                    double[] each = crowd(pool, c[0]);
                    for (int i = 0; i < each.length && r >= 0; i++) {
                        if (r == 0) figures.add(new ArrayList<>());
                        figures.get(i).add(each[i]);
                    }
                }
            }
            StringBuilder line = new StringBuilder("handoff|" + TITLE + "|" + c[0] + "|" + c[1]
                    + "|");
            for (List<Double> figure : figures) {
                line.append(String.format(Locale.ROOT, "%.4f ", quantile(figure, 0.5)));
            }
            System.out.println(line);
        }
    }

    public static void main(String[] arguments) throws Exception {
        int rounds = Integer.parseInt(arguments[0]);
        measurePairs(rounds, Double.parseDouble(arguments[1]) * 1e6);
        measureCrowds(rounds);
    }
}
