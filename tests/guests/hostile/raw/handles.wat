;;; make-resources
;; Of its own type: the host counts their handles all the same.
(import "beside" "new" (func $new (param i32) (result i32)))
(func (export "handle") (param i32) (result i32) (local i32)
  (loop
    (drop (call $new (local.get 1)))
    (br_if 0 (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 1000000))))
  (i32.const 0))
;; beside it:
(type $own (resource (rep i32)))
(core func $new (canon resource.new $own))
(core instance $beside (export "new" (func $new)))

;;; guess-a-handle
(import "host" "block" (func $block (param i32)))
(func (export "handle") (param i32) (result i32)
  (call $block (i32.const 12345))
  (i32.const 0))

;;; use-after-drop
(import "host" "subscribe" (func $subscribe (param i64) (result i32)))
(import "host" "drop" (func $drop (param i32)))
(import "host" "block" (func $block (param i32)))
(func (export "handle") (param i32) (result i32) (local i32)
  (local.set 1 (call $subscribe (i64.const 0)))
  (call $drop (local.get 1))
  (call $block (local.get 1))
  (i32.const 0))

;;; drop-twice
(import "host" "subscribe" (func $subscribe (param i64) (result i32)))
(import "host" "drop" (func $drop (param i32)))
(func (export "handle") (param i32) (result i32) (local i32)
  (local.set 1 (call $subscribe (i64.const 0)))
  (call $drop (local.get 1))
  (call $drop (local.get 1))
  (i32.const 0))

;;; take-one-for-another
;; A pollable where a topic is asked for.
(import "host" "subscribe" (func $subscribe (param i64) (result i32)))
(import "host" "publish" (func $publish (param i32 i32 i32 i32)))
(func (export "handle") (param i32) (result i32)
  (call $publish (call $subscribe (i64.const 0)) (i32.const 0) (i32.const 0) (i32.const 1024))
  (i32.const 0))
