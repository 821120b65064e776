;;; spin-in-destructor
;; The destructor of a resource of its own.
(import "beside" "new" (func $new (param i32) (result i32)))
(import "beside" "drop" (func $drop (param i32)))
(func (export "handle") (param i32) (result i32)
  (call $drop (call $new (i32.const 7)))
  (i32.const 0))
;; beside it:
(core module $destructor-module
  (func (export "destroy") (param i32) (local i64)
    (loop (br_if 0 (i64.lt_u
      (local.tee 1 (i64.add (local.get 1) (i64.const 1)))
      (i64.const 2000000000))))))
(core instance $destructor (instantiate $destructor-module))
(type $own (resource (rep i32) (dtor (func $destructor "destroy"))))
(core func $new (canon resource.new $own))
(core func $drop-own (canon resource.drop $own))
(core instance $beside (export "new" (func $new)) (export "drop" (func $drop-own)))

;;; spin-after-return
(func (export "handle") (param i32) (result i32) (i32.const 0))
(func (export "post") (param i32) (local i64)
  (loop (br_if 0 (i64.lt_u
    (local.tee 1 (i64.add (local.get 1) (i64.const 1)))
    (i64.const 2000000000)))))

;;; spin-in-start
(func $start (local i64)
  (loop (br_if 0 (i64.lt_u
    (local.tee 0 (i64.add (local.get 0) (i64.const 1)))
    (i64.const 2000000000)))))
(start $start)
(func (export "handle") (param i32) (result i32) (i32.const 0))

;;; spin-in-realloc
;; The host calls it while it hands over the event.
(import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
(func (export "realloc") (param i32 i32 i32 i32) (result i32) (local i64)
  (loop (br_if 0 (i64.lt_u
    (local.tee 4 (i64.add (local.get 4) (i64.const 1)))
    (i64.const 500000000))))
  (call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
(func (export "handle") (param i32) (result i32) (i32.const 0))

;;; fill
;; Gigabytes, by instructions that fill a page each.
(import "libc" "memory" (memory 1))
(func (export "handle") (param i32) (result i32) (local i32)
  (loop
    (memory.fill (i32.const 65536) (i32.const 1) (i32.const 65536))
    (br_if 0 (i32.lt_u
      (local.tee 1 (i32.add (local.get 1) (i32.const 1)))
      (i32.const 131072))))
  (i32.store (i32.const 16) (i32.const 0))
  (i32.const 16))

;;; recurse-natively
;; Without a stack of its own in memory.
(func $deeper (param i32) (result i32)
  (if (result i32) (local.get 0)
    (then (i32.add (i32.const 1) (call $deeper (i32.sub (local.get 0) (i32.const 1)))))
    (else (i32.const 0))))
(func (export "handle") (param i32) (result i32)
  (drop (call $deeper (i32.const 60000)))
  (i32.const 0))

;;; recurse-with-calls
;; With a call of the host at each depth.
(import "host" "now" (func $now (result i64)))
(func $deeper (param i32) (result i32)
  (drop (call $now))
  (if (result i32) (local.get 0)
    (then (i32.add (i32.const 1) (call $deeper (i32.sub (local.get 0) (i32.const 1)))))
    (else (i32.const 0))))
(func (export "handle") (param i32) (result i32)
  (drop (call $deeper (i32.const 60000)))
  (i32.const 0))

;;; recurse-in-realloc
(import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
(func $deeper (param i32) (result i32)
  (if (result i32) (local.get 0)
    (then (i32.add (i32.const 1) (call $deeper (i32.sub (local.get 0) (i32.const 1)))))
    (else (i32.const 0))))
(func (export "realloc") (param i32 i32 i32 i32) (result i32)
  (drop (call $deeper (i32.const 60000)))
  (call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
(func (export "handle") (param i32) (result i32) (i32.const 0))

;;; call-from-realloc
;; Calls the host while the host hands over the event, so that each would go on inside the other.
(import "host" "now" (func $now (result i64)))
(func (export "realloc") (param i32 i32 i32 i32) (result i32)
  (drop (call $now))
  (i32.const 65536))
(func (export "handle") (param i32) (result i32) (i32.const 0))

;;; floats
;; What differs between processors, or once did: what a NaN has for its sign and payload is the only freedom.
(func $same (param i64 i64) (if (i64.ne (local.get 0) (local.get 1)) (then unreachable)))
(func $nan (param f64) (if (f64.eq (local.get 0) (local.get 0)) (then unreachable)))
(func (export "handle") (param i32) (result i32)
  (call $nan (f64.div (f64.const 0) (f64.const 0)))
  (call $nan (f64.sqrt (f64.const -1)))
  (call $nan (f64.min (f64.const nan) (f64.const 1)))
  (call $nan (f64.sub (f64.const inf) (f64.const inf)))
  (call $same (i64.reinterpret_f64 (f64.neg (f64.const nan:0x4))) (i64.const 0xfff0000000000004))
  (call $same (i64.reinterpret_f64 (f64.min (f64.const 0) (f64.const -0))) (i64.const 0x8000000000000000))
  (call $same (i64.reinterpret_f64 (f64.nearest (f64.const -0.5))) (i64.const 0x8000000000000000))
  (call $same (i64.trunc_sat_f64_s (f64.const nan)) (i64.const 0))
  (call $same (i64.trunc_sat_f64_u (f64.const -inf)) (i64.const 0))
  (call $same (i64.trunc_sat_f64_s (f64.const inf)) (i64.const 0x7fffffffffffffff))
  (call $same (i64.rem_s (i64.const 0x8000000000000000) (i64.const -1)) (i64.const 0))
  (call $same (i64.shl (i64.const 1) (i64.const 64)) (i64.const 1))
  (i32.const 0))

;;; vectors
(func $same (param i64 i64) (if (i64.ne (local.get 0) (local.get 1)) (then unreachable)))
(func (export "handle") (param i32) (result i32)
  ;; Lanes that aren't there.
  (call $same
    (i64x2.extract_lane 0 (i8x16.swizzle
      (v128.const i8x16 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
      (v128.const i8x16 15 16 255 128 0 0 0 0 0 0 0 0 0 0 0 0)))
    (i64.const 0x0101010100000010))
  (call $same
    (i64x2.extract_lane 0 (i32x4.trunc_sat_f32x4_s (v128.const f32x4 nan inf -inf 1e20)))
    (i64.const 0x7fffffff00000000))
  (call $same
    (i64x2.extract_lane 0 (i16x8.q15mulr_sat_s
      (v128.const i16x8 -32768 0 0 0 0 0 0 0) (v128.const i16x8 -32768 0 0 0 0 0 0 0)))
    (i64.const 0x7fff))
  (call $same
    (i64x2.extract_lane 1 (i64x2.abs (v128.const i64x2 0 0x8000000000000000)))
    (i64.const 0x8000000000000000))
  (i32.const 0))

;;; divide-by-zero
(func (export "handle") (param i32) (result i32) (i32.div_u (i32.const 1) (i32.const 0)))

;;; overflow
(func (export "handle") (param i32) (result i32) (i32.div_s (i32.const 0x80000000) (i32.const -1)))

;;; convert-nan
(func (export "handle") (param i32) (result i32) (i32.trunc_f32_s (f32.const nan)))

;;; call-the-wrong-type
(type $other (func (param i64)))
(table 1 funcref)
(func $real (result i32) (i32.const 0))
(elem (i32.const 0) $real)
(func (export "handle") (param i32) (result i32)
  (call_indirect (type $other) (i64.const 0) (i32.const 0))
  (i32.const 0))
