// SPDX-License-Identifier: MIT

import java.io.PrintWriter;
import java.sql.Connection;
import java.util.logging.Logger;
import javax.sql.DataSource;

/** Where HikariCP gets its connections from. */
final class FakeSource implements DataSource {
    public Connection getConnection() { return new FakeConnection(); }
    public Connection getConnection(String user, String password) { return new FakeConnection(); }
    public PrintWriter getLogWriter() { return null; }
    public void setLogWriter(PrintWriter writer) { }
    public void setLoginTimeout(int seconds) { }
    public int getLoginTimeout() { return 0; }
    public Logger getParentLogger() { return null; }
    public boolean isWrapperFor(Class<?> type) { return false; }
    public <T> T unwrap(Class<T> type) { return null; }
}
