;;; trap-in-start
(func $start unreachable)
(start $start)
(func (export "handle") (param i32) (result i32) (i32.const 0))

;;; trap-after-return
(func (export "handle") (param i32) (result i32) (i32.const 0))
(func (export "post") (param i32) unreachable)

;;; trap-half-lowered
;; With a part of the event handed over.
(import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
(global $calls (mut i32) (i32.const 0))
(func (export "realloc") (param i32 i32 i32 i32) (result i32)
  (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
  (if (i32.eq (global.get $calls) (i32.const 3)) (then unreachable))
  (call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
(func (export "handle") (param i32) (result i32) (i32.const 0))

;;; realloc-beyond
(func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const -8))
(func (export "handle") (param i32) (result i32) (i32.const 0))

;;; realloc-askew
(func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65537))
(func (export "handle") (param i32) (result i32) (i32.const 0))

;;; return-beyond
(func (export "handle") (param i32) (result i32) (i32.const -8))

;;; return-askew
(func (export "handle") (param i32) (result i32) (i32.const 1025))

;;; return-no-such-case
(import "libc" "memory" (memory 1))
(data (i32.const 1024) "\07")
(func (export "handle") (param i32) (result i32) (i32.const 1024))

;;; return-endless-text
;; A failure whose reason has two gigabytes.
(import "libc" "memory" (memory 1))
(data (i32.const 1024) "\01\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00\00\00\00\00\ff\ff\ff\7f")
(func (export "handle") (param i32) (result i32) (i32.const 1024))

;;; no-text
;; Bytes that aren't UTF-8.
(import "libc" "memory" (memory 1))
(import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
(data (i32.const 1024) "\ff\fe\c0\80\ed\a0\80")
(func (export "handle") (param i32) (result i32)
  (call $log (i32.const 0) (i32.const 1024) (i32.const 7) (i32.const 1024) (i32.const 7))
  (i32.const 0))

;;; text-beyond
(import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
(func (export "handle") (param i32) (result i32)
  (call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -16) (i32.const 4096))
  (i32.const 0))

;;; text-beyond-in-start
;; The same before there is an event.
(import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
(func $start (call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -16) (i32.const 4096)))
(start $start)
(func (export "handle") (param i32) (result i32) (i32.const 0))

;;; no-such-case
(import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
(func (export "handle") (param i32) (result i32)
  (call $log (i32.const 77) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
  (i32.const 0))

;;; list-beyond
;; Two billion messages.
(import "libc" "memory" (memory 1))
(import "host" "open" (func $open (param i32 i32 i32)))
(import "host" "publish" (func $publish (param i32 i32 i32 i32)))
(data (i32.const 1024) "out")
(func (export "handle") (param i32) (result i32)
  (call $open (i32.const 1024) (i32.const 3) (i32.const 2048))
  (call $publish (i32.load (i32.const 2052)) (i32.const 4096) (i32.const 0x7fffffff) (i32.const 2048))
  (i32.const 0))

;;; list-askew
(import "libc" "memory" (memory 1))
(import "host" "open" (func $open (param i32 i32 i32)))
(import "host" "publish" (func $publish (param i32 i32 i32 i32)))
(data (i32.const 1024) "out")
(func (export "handle") (param i32) (result i32)
  (call $open (i32.const 1024) (i32.const 3) (i32.const 2048))
  (call $publish (i32.load (i32.const 2052)) (i32.const 4097) (i32.const 1) (i32.const 2048))
  (i32.const 0))

;;; list-of-one-text
;; Four thousand messages whose bodies are the same 200 KiB: 800 MB for the host.
(import "libc" "memory" (memory 1))
(import "libc" "grow" (func $grow (param i32) (result i32)))
(import "host" "open" (func $open (param i32 i32 i32)))
(import "host" "publish" (func $publish (param i32 i32 i32 i32)))
(data (i32.const 1024) "out")
(func (export "handle") (param i32) (result i32) (local $message i32)
  (drop (call $grow (i32.const 16)))
  (call $open (i32.const 1024) (i32.const 3) (i32.const 2048))
  (local.set $message (i32.const 262144))
  (loop
    (i32.store (local.get $message) (i32.const 262144))
    (i32.store offset=4 (local.get $message) (i32.const 204800))
    (br_if 0 (i32.lt_u
      (local.tee $message (i32.add (local.get $message) (i32.const 56)))
      (i32.const 486144))))
  (call $publish (i32.load (i32.const 2052)) (i32.const 262144) (i32.const 4000) (i32.const 2048))
  (if (i32.load8_u (i32.const 2048)) (then unreachable))
  (i32.store (i32.const 2048) (i32.const 0))
  (i32.const 2048))

;;; draft-no-such-case
;; An option that is neither.
(import "libc" "memory" (memory 1))
(import "host" "open" (func $open (param i32 i32 i32)))
(import "host" "publish" (func $publish (param i32 i32 i32 i32)))
(data (i32.const 1024) "out")
(data (i32.const 4104) "\02")
(func (export "handle") (param i32) (result i32)
  (call $open (i32.const 1024) (i32.const 3) (i32.const 2048))
  (call $publish (i32.load (i32.const 2052)) (i32.const 4096) (i32.const 1) (i32.const 2048))
  (i32.const 0))
