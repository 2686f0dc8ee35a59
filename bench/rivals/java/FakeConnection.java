// SPDX-License-Identifier: MIT

import java.sql.*;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Executor;

/** A connection that does nothing, at no cost: what HikariCP hands out in this measurement. */
final class FakeConnection implements Connection {
    /** When it was given back last; its holder only. */
    long releasedAt;

    private boolean closed;
    private boolean autoCommit = true;

    private static SQLException refused() {
        return new SQLFeatureNotSupportedException();
    }

    // What a pool asks for when it makes, lends and takes back.
    public void close() { closed = true; }
    public boolean isClosed() { return closed; }
    public boolean isValid(int timeout) { return true; }
    public void clearWarnings() { }
    public SQLWarning getWarnings() { return null; }
    public void setAutoCommit(boolean on) { autoCommit = on; }
    public boolean getAutoCommit() { return autoCommit; }
    public void commit() { }
    public void rollback() { }
    public void setReadOnly(boolean on) { }
    public boolean isReadOnly() { return false; }
    public void setCatalog(String name) { }
    public String getCatalog() { return null; }
    public void setSchema(String name) { }
    public String getSchema() { return null; }
    public void setTransactionIsolation(int level) { }
    public int getTransactionIsolation() { return TRANSACTION_READ_COMMITTED; }
    public void setNetworkTimeout(Executor executor, int milliseconds) { }
    public int getNetworkTimeout() { return 0; }
    public void abort(Executor executor) { closed = true; }
    public boolean isWrapperFor(Class<?> type) { return type.isInstance(this); }
    public <T> T unwrap(Class<T> type) { return type.cast(this); }

    // What nobody asks for here.
    public DatabaseMetaData getMetaData() throws SQLException { throw refused(); }
    public Statement createStatement() throws SQLException { throw refused(); }
    public Statement createStatement(int a, int b) throws SQLException { throw refused(); }
    public Statement createStatement(int a, int b, int c) throws SQLException { throw refused(); }
    public PreparedStatement prepareStatement(String s) throws SQLException { throw refused(); }
    public PreparedStatement prepareStatement(String s, int a) throws SQLException {
        throw refused();
    }
    public PreparedStatement prepareStatement(String s, int a, int b) throws SQLException {
        throw refused();
    }
    public PreparedStatement prepareStatement(String s, int a, int b, int c) throws SQLException {
        throw refused();
    }
    public PreparedStatement prepareStatement(String s, int[] a) throws SQLException {
        throw refused();
    }
    public PreparedStatement prepareStatement(String s, String[] a) throws SQLException {
        throw refused();
    }
    public CallableStatement prepareCall(String s) throws SQLException { throw refused(); }
    public CallableStatement prepareCall(String s, int a, int b) throws SQLException {
        throw refused();
    }
    public CallableStatement prepareCall(String s, int a, int b, int c) throws SQLException {
        throw refused();
    }
    public String nativeSQL(String s) throws SQLException { throw refused(); }
    public Map<String, Class<?>> getTypeMap() throws SQLException { throw refused(); }
    public void setTypeMap(Map<String, Class<?>> map) throws SQLException { throw refused(); }
    public void setHoldability(int holdability) throws SQLException { throw refused(); }
    public int getHoldability() throws SQLException { throw refused(); }
    public Savepoint setSavepoint() throws SQLException { throw refused(); }
    public Savepoint setSavepoint(String name) throws SQLException { throw refused(); }
    public void rollback(Savepoint savepoint) throws SQLException { throw refused(); }
    public void releaseSavepoint(Savepoint savepoint) throws SQLException { throw refused(); }
    public Clob createClob() throws SQLException { throw refused(); }
    public Blob createBlob() throws SQLException { throw refused(); }
    public NClob createNClob() throws SQLException { throw refused(); }
    public SQLXML createSQLXML() throws SQLException { throw refused(); }
    public Array createArrayOf(String type, Object[] items) throws SQLException {
        throw refused();
    }
    public Struct createStruct(String type, Object[] items) throws SQLException {
        throw refused();
    }
    public void setClientInfo(String name, String value) { }
    public void setClientInfo(Properties properties) { }
    public String getClientInfo(String name) { return null; }
    public Properties getClientInfo() { return new Properties(); }
}
