package dev.licentia;

import java.io.IOException;

/** Where an app keeps its license and the memory. */
public interface Store {
    /** The texts to keep. */
    enum Name {
        LICENSE("license.json"),
        MEMORY("memory.json");

        private final String fileName;

        Name(String fileName) {
            this.fileName = fileName;
        }

        public String fileName() {
            return fileName;
        }
    }

    /** Returns the stored text; null if there is none. */
    String read(Name name) throws IOException;

    /** Replaces the stored text. */
    void write(Name name, String text) throws IOException;
}
