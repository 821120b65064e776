;;; grow-by-turns
;; Two memories, each of which alone is within the limit.
(import "libc" "grow" (func $grow (param i32) (result i32)))
(memory 1)
(func (export "handle") (param i32) (result i32) (local i32)
  (loop
    (drop (call $grow (i32.const 16)))
    (drop (memory.grow (i32.const 16)))
    (br_if 0 (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 100))))
  (i32.const 0))

;;; grow-a-table
(table 1 funcref)
(func (export "handle") (param i32) (result i32)
  (loop (br_if 0 (i32.ne (table.grow (ref.null func) (i32.const 100)) (i32.const -1))))
  (i32.const 0))

;;; touch-beyond
(import "libc" "memory" (memory 1))
(func (export "handle") (param i32) (result i32) (i32.load (i32.const 0xfffffffc)))

;;; fill-beyond
(import "libc" "memory" (memory 1))
(func (export "handle") (param i32) (result i32)
  (memory.fill (i32.const 0) (i32.const 1) (i32.const -1))
  (i32.const 0))
