"""`embedsvc doctor`: looks at what the service needs, says what is wrong and what to do; changes nothing."""
