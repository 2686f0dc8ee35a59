// SPDX-License-Identifier: MIT

// Pools of Go, measured as bench/bench.c and bench/handoff.c measure those of C: the same numbers
// of threads (goroutines here), the same rounds, the same loops. Prints what bench/foreign.c reads.
//
//	main ROUNDS MILLISECONDS
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	resources = 10
	hold      = 20 * time.Microsecond
	crowdTime = 200 * time.Millisecond
)

var (
	columns = []int{1, 2, 4, 16, 64}
	crowds  = []struct{ threads, resources int }{{4, 2}, {16, 4}}
	epoch   = time.Now()
)

func now() int64 { return int64(time.Since(epoch)) }

func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sort.Float64s(values)
	return values[int(q*float64(len(values)-1))]
}

// Runs work on so many threads at once and returns when the first may begin and the last ended.
func together(threads int, work func()) (int64, int64) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ended := make([]int64, threads)
	ready.Add(threads)
	done.Add(threads)
	for i := 0; i < threads; i++ {
		go func(i int) {
			ready.Done()
			<-start
			work()
			ended[i] = now()
			done.Done()
		}(i)
	}
	ready.Wait()
	started := now()
	close(start)
	done.Wait()
	last := started
	for _, e := range ended {
		if e > last {
			last = e
		}
	}
	return started, last
}

// ns of one pair over all threads, and at one thread that of the quickest of a hundred pieces.
func round(p *pool, threads, count int) (float64, float64) {
	least := 0.0
	started, ended := together(threads, func() {
		if threads > 1 {
			p.pairs(count)
			return
		}
		piece := count/100 + 1
		for done := 0; done+piece <= count; done += piece {
			began := now()
			p.pairs(piece)
			each := float64(now()-began) / float64(piece)
			if least == 0 || each < least {
				least = each
			}
		}
	})
	each := float64(ended-started) / float64(threads) / float64(count)
	if threads > 1 || least == 0 {
		least = each
	}
	return each, least
}

func calibrate(p *pool, threads int, length float64) int {
	for count := 256; ; count *= 4 {
		each, _ := round(p, threads, count)
		elapsed := each * float64(count) * float64(threads)
		if elapsed >= length/8 {
			return int(float64(count)*length/elapsed) + 1
		}
	}
}

func measurePairs(rounds int, length float64) {
	loops := make([][]int, len(kinds))
	samples := make([][][]float64, len(kinds))
	least := make([][]float64, len(kinds))
	pools := make([]*pool, len(kinds))
	for k, open := range kinds {
		pools[k] = open(resources)
		loops[k] = make([]int, len(columns))
		least[k] = make([]float64, len(columns))
		samples[k] = make([][]float64, len(columns))
	}
	for r := -1; r < rounds; r++ {
		for c, threads := range columns {
			for k, p := range pools {
				if r < 0 {
					longer := 1.0
					if threads > 16 {
						longer = 4
					}
					loops[k][c] = calibrate(p, threads, length*longer)
					continue
				}
				each, quickest := round(p, threads, loops[k][c])
				samples[k][c] = append(samples[k][c], each)
				if least[k][c] == 0 || quickest < least[k][c] {
					least[k][c] = quickest
				}
			}
		}
	}
	for k, p := range pools {
		fmt.Printf("pairs|%s", p.title)
		for c := range columns {
			fmt.Printf("|%.2f %.2f", quantile(samples[k][c], 0.5), least[k][c])
		}
		fmt.Println()
		p.close()
	}
}

// p50, p99, wait p99, longest wait, share handed over, pairs in a second. See bench/handoff.c.
func crowd(p *pool, threads int) []float64 {
	var pairs atomic.Int64
	var lock sync.Mutex
	var handed, waited []float64
	ends := now() + int64(crowdTime)
	started, ended := together(threads, func() {
		var myHanded, myWaited []float64
		mine := int64(0)
		for {
			begun := now()
			if begun >= ends {
				break
			}
			r, held := p.acquire()
			got := now()
			if r.releasedAt > begun {
				myHanded = append(myHanded, float64(got-r.releasedAt))
				myWaited = append(myWaited, float64(got-begun))
			}
			for now() < got+int64(hold) {
			}
			r.releasedAt = now()
			p.release(held)
			mine++
		}
		pairs.Add(mine)
		lock.Lock()
		handed = append(handed, myHanded...)
		waited = append(waited, myWaited...)
		lock.Unlock()
	})
	total := float64(pairs.Load())
	return []float64{quantile(handed, 0.5), quantile(handed, 0.99), quantile(waited, 0.99),
		quantile(waited, 1), float64(len(handed)) / total,
		total / (float64(ended-started) / 1e9)}
}

func measureCrowds(rounds int) {
	for _, c := range crowds {
		figures := make([][6][]float64, len(kinds))
		titles := make([]string, len(kinds))
		for r := 0; r < rounds; r++ {
			for k, open := range kinds {
				p := open(c.resources)
				for i, f := range crowd(p, c.threads) {
					figures[k][i] = append(figures[k][i], f)
				}
				titles[k] = p.title
				p.close()
			}
		}
		for k := range kinds {
			fmt.Printf("handoff|%s|%d|%d|", titles[k], c.threads, c.resources)
			for i := range figures[k] {
				fmt.Printf("%.4f ", quantile(figures[k][i], 0.5))
			}
			fmt.Println()
		}
	}
}

func number(at int) int {
	value, err := strconv.Atoi(os.Args[at])
	must(err)
	return value
}

func main() {
	rounds := number(1)
	runtime.GC()
	measurePairs(rounds, float64(number(2))*1e6)
	measureCrowds(rounds)
}
