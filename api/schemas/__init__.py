"""The JSON of requests and answers, by resource. Unknown fields are refused; nothing is coerced."""
