"""Between the sockets and the application: processes, limits of connections and of time, who may ask."""
