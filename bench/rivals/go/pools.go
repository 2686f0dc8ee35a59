// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/jackc/puddle"
)

type resource struct {
	releasedAt int64 // its holder only
	_          [120]byte
}

// A pool as the measurements see it: pairs is what is timed while resources suffice, the rest is
// for hand-offs, where a call through a pointer more does not matter.
type pool struct {
	title   string
	pairs   func(count int)
	acquire func() (*resource, interface{})
	release func(held interface{})
	close   func()
}

var background = context.Background()

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func makeResources(count int) []*resource {
	made := make([]*resource, count)
	for i := range made {
		made[i] = new(resource)
	}
	return made
}

// What Go programmers write without a library.
func openChannel(count int) *pool {
	idle := make(chan *resource, count)
	for _, r := range makeResources(count) {
		idle <- r
	}
	return &pool{
		title: "Go, buffered channel",
		pairs: func(count int) {
			for i := 0; i < count; i++ {
				idle <- <-idle
			}
		},
		acquire: func() (*resource, interface{}) {
			r := <-idle
			return r, r
		},
		release: func(held interface{}) { idle <- held.(*resource) },
		close:   func() {},
	}
}

func openPuddle(count int) *pool {
	p := puddle.NewPool(
		func(context.Context) (interface{}, error) { return new(resource), nil },
		func(interface{}) {}, int32(count))
	for i := 0; i < count; i++ {
		must(p.CreateResource(background))
	}
	return &pool{
		title: "Go, puddle Acquire + Release",
		pairs: func(count int) {
			for i := 0; i < count; i++ {
				r, err := p.Acquire(background)
				must(err)
				r.Release()
			}
		},
		acquire: func() (*resource, interface{}) {
			r, err := p.Acquire(background)
			must(err)
			return r.Value().(*resource), r
		},
		release: func(held interface{}) { held.(*puddle.Resource).Release() },
		close:   p.Close,
	}
}

// A driver whose connections do nothing.
type fakeDriver struct{}
type fakeConn struct{ resource }

func (fakeDriver) Connect(context.Context) (driver.Conn, error) { return new(fakeConn), nil }
func (d fakeDriver) Driver() driver.Driver                      { return d }
func (fakeDriver) Open(string) (driver.Conn, error)             { return new(fakeConn), nil }

func (*fakeConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not offered") }
func (*fakeConn) Begin() (driver.Tx, error)           { return nil, errors.New("not offered") }
func (*fakeConn) Close() error                        { return nil }

func openSQL(count int) *pool {
	db := sql.OpenDB(fakeDriver{})
	db.SetMaxOpenConns(count)
	db.SetMaxIdleConns(count)
	var all []*sql.Conn
	for i := 0; i < count; i++ {
		conn, err := db.Conn(background)
		must(err)
		all = append(all, conn)
	}
	for _, conn := range all {
		must(conn.Close())
	}
	return &pool{
		title: "Go, database/sql Conn + Close",
		pairs: func(count int) {
			for i := 0; i < count; i++ {
				conn, err := db.Conn(background)
				must(err)
				must(conn.Close())
			}
		},
		acquire: func() (*resource, interface{}) {
			conn, err := db.Conn(background)
			must(err)
			var r *resource
			must(conn.Raw(func(raw interface{}) error {
				r = &raw.(*fakeConn).resource
				return nil
			}))
			return r, conn
		},
		release: func(held interface{}) { must(held.(*sql.Conn).Close()) },
		close:   func() { must(db.Close()) },
	}
}

var kinds = []func(count int) *pool{openChannel, openPuddle, openSQL}
