// SPDX-License-Identifier: MIT

// A worker channel of Go, measured as bench/tasks.c measures thread pools of C. Prints what
// bench/foreign.c reads. Built alone: it needs nothing but Go.
//
//	tasks ROUNDS
package main

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	workers   = 2
	queue     = 1024
	producers = 2
	scenes    = 3 // idle, rested, loaded
	loaded    = 2
	warmUp    = 100
	roundTime = int64(100 * time.Millisecond)
	restTime  = int64(50 * time.Microsecond)
)

var epoch = time.Now()

func now() int64 { return int64(time.Since(epoch)) }

func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := append([]float64(nil), values...)
	sort.Float64s(sorted)
	return sorted[int(q*float64(len(sorted)-1))]
}

func nothing() {}

func open() chan func() {
	tasks := make(chan func(), queue)
	for i := 0; i < workers; i++ {
		go func() {
			for task := range tasks {
				task()
			}
		}()
	}
	return tasks
}

// A full channel makes the sender wait. The last tasks, one for each worker, end when both have
// nothing else left.
func produce(tasks chan func(), stop *atomic.Bool) int64 {
	count := int64(0)
	for !stop.Load() {
		tasks <- nothing
		count++
	}
	var ended sync.WaitGroup
	ended.Add(workers)
	for i := 0; i < workers; i++ {
		tasks <- func() {
			ended.Done()
			ended.Wait()
		}
	}
	ended.Wait()
	return count
}

// Producers end before the workers are asked to: those wait for each other then, which only one
// may ask of them.
func rate(tasks chan func(), count int) float64 {
	var stop atomic.Bool
	var done sync.WaitGroup
	var total atomic.Int64
	started := now()
	for i := 0; i < count; i++ {
		done.Add(1)
		go func() {
			own := int64(0)
			for !stop.Load() {
				tasks <- nothing
				own++
			}
			total.Add(own)
			done.Done()
		}()
	}
	time.Sleep(time.Duration(roundTime))
	stop.Store(true)
	done.Wait()
	produce(tasks, &stop) // what is queued ends first
	return float64(total.Load()) / (float64(now()-started) / 1e9)
}

func roundTrips(tasks chan func(), rested bool) []float64 {
	samples := make([]float64, 0, 1<<20)
	ended := make(chan struct{})
	probe := func() { ended <- struct{}{} }
	for i := 0; i < warmUp; i++ {
		tasks <- probe
		<-ended
	}
	begun := now()
	for ends := begun + roundTime; begun < ends && len(samples) < cap(samples); {
		tasks <- probe
		<-ended
		over := now()
		samples = append(samples, float64(over-begun))
		for begun = over; rested && begun < over+restTime; {
			begun = now()
		}
	}
	return samples
}

func inScene(tasks chan func(), scene int) []float64 {
	if scene != loaded {
		return roundTrips(tasks, scene == 1)
	}
	var stop atomic.Bool
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		produce(tasks, &stop)
		done.Done()
	}()
	samples := roundTrips(tasks, false)
	stop.Store(true)
	done.Wait()
	return samples
}

func main() {
	rounds, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	var rates [producers][]float64
	var p50, p99 [scenes][]float64
	tasks := open()
	for r := 0; r < rounds; r++ {
		for i := range rates {
			rates[i] = append(rates[i], rate(tasks, i+1))
		}
		for i := range p50 {
			samples := inScene(tasks, i)
			p50[i] = append(p50[i], quantile(samples, 0.5))
			p99[i] = append(p99[i], quantile(samples, 0.99))
		}
	}
	fmt.Print("tasks|Go, a channel and two goroutines|0|0")
	for i := range rates {
		fmt.Printf("|%.0f", quantile(rates[i], 0.5))
	}
	for i := range p50 {
		fmt.Printf("|%.1f %.1f", quantile(p50[i], 0.5), quantile(p99[i], 0.5))
	}
	fmt.Println()
}
